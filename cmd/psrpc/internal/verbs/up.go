package verbs

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/demo"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// brokerStart is how long the broker of psrpc up may take to start.
const brokerStart = 10 * time.Second

// up is one run of the verb up.
type up struct {
	app     *app.App
	listen  string
	servers int
}

func newUp(a *app.App) *cobra.Command {
	u := &up{app: a}
	command := &cobra.Command{
		Use:   "up",
		Short: "Run a NATS server and an example service, to try psrpc with",
		Long: `up runs a NATS server in this process, and servers of an example service on it, until it is
interrupted. psrpc uses this bus if no other one is given, so everything can be tried without a
broker and without a service of one's own. Nothing is stored.`,
		Example: `  psrpc up &
  psrpc call Greeter/Hello name=Ada`,
		Args: arguments(0, 0),
		RunE: func(command *cobra.Command, _ []string) error { return u.run(command.Context()) },
	}
	command.Flags().StringVar(&u.listen, "listen", strings.TrimPrefix(app.DefaultBus, "nats://"), "address of the NATS server")
	command.Flags().IntVar(&u.servers, "servers", 2, "number of servers of the example service")
	return command
}

func (u *up) run(ctx context.Context) error {
	broker, err := startBroker(u.listen)
	if err != nil {
		return err
	}
	defer broker.WaitForShutdown()
	defer broker.Shutdown()
	b, err := bus.Open(ctx, broker.ClientURL(), bus.WithLogger(u.app.Logger()))
	if err != nil {
		return err
	}
	d, err := demo.Start(b, u.servers)
	if err != nil {
		return errors.Join(err, b.Close())
	}
	if err := u.announce(broker.ClientURL()); err != nil {
		d.Close()
		return errors.Join(err, b.Close())
	}
	<-ctx.Done()
	d.Close()
	return b.Close()
}

// startBroker starts a NATS server that listens on address.
func startBroker(address string) (*server.Server, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, app.Usagef("--listen %s: want host:port", address)
	}
	port, err := strconv.Atoi(portText)
	if err != nil || port < 0 {
		return nil, app.Usagef("--listen %s: %s is not a port", address, portText)
	}
	// The NATS server does not return the reason why it cannot listen.
	probe, err := net.Listen("tcp", address) //nolint:noctx // it does not wait
	if err != nil {
		return nil, app.Hint(fmt.Errorf("the NATS server cannot listen: %w", err), "psrpc up --listen 127.0.0.1:0 takes a free port; is psrpc up running already?")
	}
	if err := probe.Close(); err != nil {
		return nil, err
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	broker, err := server.NewServer(&server.Options{Host: host, Port: port, NoLog: true, NoSigs: true})
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

// announce prints where the bus is and what can be tried.
func (u *up) announce(url string) error {
	if u.app.Format() == app.FormatJSON {
		return u.app.JSON(map[string]any{"bus": url, "services": []string{"greeting.Greeter"}, "servers": u.servers})
	}
	flag := ""
	if url != app.DefaultBus {
		flag = " --bus " + url
	}
	return u.app.Printf(`bus      %s
service  greeting.Greeter on %s
try      psrpc%[3]s list
         psrpc%[3]s describe Greeter
         psrpc%[3]s call Greeter/Hello name=Ada
         psrpc%[3]s call Greeter/All name=Ada -v
         psrpc%[3]s subscribe Greeter/News
`, url, plural(u.servers, "server"), flag)
}
