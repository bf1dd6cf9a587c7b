package verbs

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/demo"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/doctor"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/human"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/explorer"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// brokerStart is how long the NATS server of psrpc up may take to start.
const brokerStart = 10 * time.Second

// up is one run of the verb up.
type up struct {
	app     *app.App
	listen  string
	monitor string
	http    string
	servers int
}

func newUp(a *app.App) *cobra.Command {
	u := &up{app: a}
	command := &cobra.Command{
		Use:   "up",
		Short: "Run a NATS server, an example service, a gateway and an explorer, to try psrpc with",
		Long: `up runs a NATS server in this process, servers of an example service on it, a gateway that serves the
example over HTTP, and the web pages of psrpc explorer, until it is interrupted. psrpc uses this bus
if no other one is given, so everything can be tried without a broker and without a service of one's
own. Nothing is stored. Everybody who reaches the NATS server may watch and drain the servers, and
everybody who reaches the gateway may call them. They listen on this machine only, unless --yes is
given.`,
		Example: `  psrpc up &
  psrpc call Greeter/Hello name=Ada`,
		Args: arguments(0, 0),
		RunE: func(command *cobra.Command, _ []string) error { return u.run(command.Context()) },
	}
	command.Flags().StringVar(&u.listen, "listen", strings.TrimPrefix(app.DefaultBus, "nats://"), "address of the NATS server")
	command.Flags().StringVar(&u.monitor, "monitor", strings.TrimPrefix(app.DefaultMonitor, "http://"), "address of the NATS server's monitoring endpoint")
	command.Flags().StringVar(&u.http, "http", defaultHTTP, "address of the gateway and the explorer")
	command.Flags().IntVar(&u.servers, "servers", 2, "number of servers of the example service")
	a.AddYes(command)
	return command
}

func (u *up) run(ctx context.Context) error {
	if err := u.checkAddresses(); err != nil {
		return err
	}
	broker, err := startBroker(u.listen, u.monitor)
	if err != nil {
		return err
	}
	defer broker.WaitForShutdown()
	defer broker.Shutdown()
	url := fmt.Sprintf("%s?monitor=http://%s", broker.ClientURL(), broker.MonitorAddr())
	b, err := bus.Open(ctx, url, bus.WithLogger(u.app.Logger()))
	if err != nil {
		return err
	}
	d, err := demo.Start(b, u.servers, u.app.LogLevel())
	if err != nil {
		return errors.Join(err, b.Close())
	}
	err = u.serve(ctx, b, broker)
	d.Close()
	return errors.Join(err, b.Close())
}

// checkAddresses refuses addresses that other machines can reach, unless --yes is given.
func (u *up) checkAddresses() error {
	for _, flag := range []struct{ name, address string }{{"listen", u.listen}, {"monitor", u.monitor}, {"http", u.http}} {
		if !listensLocally(flag.address) && !u.app.Flags.Yes {
			return app.Hint(app.Usagef("--%s %s: others on the network could use it without a password", flag.name, flag.address),
				"add --yes if the network is private")
		}
	}
	return nil
}

// serve serves the example service over HTTP until ctx ends.
func (u *up) serve(ctx context.Context, b bus.Bus, broker *server.Server) error {
	reg := registry.New(registry.WithLogger(u.app.Logger()))
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is under way any more
	f, err := fleet.New(conn)
	if err != nil {
		return err
	}
	e := explorerVerb{app: u.app, gateway: gatewayVerb{app: u.app, listen: u.http, methods: []string{allMethods}}}
	if !listensLocally(u.http) {
		e.hosts = []string{"*"} // --yes confirms access from other machines
	}
	var pages *explorer.Explorer
	httpServer, err := startHTTP(ctx, u.app, "http", u.http, f, reg, func() (http.Handler, error) {
		gw, err := e.gateway.handler(conn, reg)
		if err != nil {
			return nil, err
		}
		if pages, err = e.pages(f, reg, doctor.Target{Bus: b, Fleet: f}, explorer.WithGateway("/")); err != nil {
			return nil, err
		}
		mux := http.NewServeMux()
		mux.Handle("/", gw)
		mux.Handle("/explorer/", http.StripPrefix("/explorer", pages))
		return protected(u.app, u.http, mux), nil
	})
	if err != nil {
		return err
	}
	if err := u.announce(broker, httpServer.url, pages.LoginURL(httpServer.url+"/explorer")); err != nil {
		return errors.Join(err, pages.Close(), httpServer.close())
	}
	httpServer.wait(ctx)
	return errors.Join(pages.Close(), httpServer.close())
}

// startBroker starts a NATS server. listen is the address for clients. monitor is the address of
// the monitoring endpoint, from which the bus learns which channels have subscribers.
func startBroker(listen, monitor string) (*server.Server, error) {
	options := &server.Options{NoLog: true, NoSigs: true}
	var err error
	if options.Host, options.Port, err = freeAddress("listen", listen); err != nil {
		return nil, err
	}
	if options.HTTPHost, options.HTTPPort, err = freeAddress("monitor", monitor); err != nil {
		return nil, err
	}
	broker, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("NATS server: %w", err)
	}
	broker.Start()
	if !broker.ReadyForConnections(brokerStart) {
		broker.Shutdown()
		return nil, errors.NewErrorf(errors.Unavailable, "the NATS server has not started within %s", brokerStart)
	}
	return broker, nil
}

// freeAddress splits an address into host and port. If something else listens there, it returns an
// error, because the NATS server would not tell the user why it fails. Port 0 stands for any free
// port.
func freeAddress(flag, address string) (host string, port int, err error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, app.Usagef("--%s %s: want host:port", flag, address)
	}
	if port, err = strconv.Atoi(portText); err != nil || port < 0 {
		return "", 0, app.Usagef("--%s %s: %s is not a port", flag, address, portText)
	}
	probe, err := net.Listen("tcp", address) //nolint:noctx // it does not wait
	if err != nil {
		return "", 0, app.Hint(fmt.Errorf("the NATS server cannot listen: %w", err),
			"is psrpc up running already? psrpc up --listen 127.0.0.1:0 --monitor 127.0.0.1:0 takes free ports")
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, probe.Close()
}

// started is the output of the verb up in the format json.
type started struct {
	Bus      string   `json:"bus"`
	Monitor  string   `json:"monitor"`
	Gateway  string   `json:"gateway"`
	Explorer string   `json:"explorer"`
	Services []string `json:"services"`
	Servers  int      `json:"servers"`
}

// announce prints the addresses of the bus and the gateway, the link of the explorer, and commands to
// try.
func (u *up) announce(broker *server.Server, gatewayURL, link string) error {
	url, monitor := broker.ClientURL(), fmt.Sprintf("http://%s", broker.MonitorAddr())
	if u.app.Format() == app.FormatJSON {
		return u.app.JSON(started{
			Bus: url, Monitor: monitor, Gateway: gatewayURL, Explorer: link, Services: []string{"greeting.Greeter"}, Servers: u.servers,
		})
	}
	export := ""
	if url != app.DefaultBus || monitor != app.DefaultMonitor {
		export = fmt.Sprintf("export PSRPC_BUS='%s?monitor=%s'\n         ", url, monitor)
	}
	return u.app.Printf(`bus      %s
monitor  %s
gateway  %s
explorer %s
service  greeting.Greeter on %s
try      %spsrpc list
         psrpc describe Greeter
         psrpc call Greeter/Hello name=Ada
         psrpc call Greeter/All name=Ada -v
         psrpc subscribe Greeter/News
         curl -d '{"name":"Ada"}' -H 'Content-Type: application/json' %[3]s/greeting.Greeter/Hello
`, url, monitor, gatewayURL, link, human.Plural(u.servers, "server"), export)
}
