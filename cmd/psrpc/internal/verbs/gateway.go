package verbs

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/systemd"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway/rest"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// defaultHTTP is the address on which the gateway listens by default.
const defaultHTTP = "127.0.0.1:8321"

// allMethods is the pattern of all methods.
const allMethods = "*/*"

// httpShutdown is how long calls may take to end when the verb is interrupted.
const httpShutdown = 5 * time.Second

// gatewayVerb is one run of the verb gateway.
type gatewayVerb struct {
	app     *app.App
	listen  string
	methods []string
	origins []string
	metrics string
	// accessLog reports whether requests are logged.
	accessLog bool
}

func newGateway(a *app.App) *cobra.Command {
	g := &gatewayVerb{app: a}
	command := &cobra.Command{
		Use:   "gateway",
		Short: "Serve the methods on the bus over HTTP",
		Long: `gateway serves methods over HTTP until it is interrupted: by Connect, gRPC and gRPC-Web, as server-sent
events, as newline-delimited JSON and over WebSockets, and with the paths of google.api.http. The
services come from the files given with -p and from the servers on the bus, and may come and go. It
also serves gRPC's reflection and /openapi.json. It authenticates no client, so it listens on this
machine only, and answers only requests to localhost or 127.0.0.1, unless --yes is given.`,
		Example: `  psrpc gateway --methods 'greeting.Greeter/*' &
  curl -d '{"name":"Ada"}' -H 'Content-Type: application/json' http://` + defaultHTTP + `/greeting.Greeter/Hello
  curl -H 'Accept: text/event-stream' http://` + defaultHTTP + `/greeting.Greeter/News`,
		Args: arguments(0, 0),
		RunE: func(command *cobra.Command, _ []string) error { return g.run(command.Context()) },
	}
	flags := command.Flags()
	flags.StringVar(&g.listen, "listen", defaultHTTP, "address of the HTTP server")
	flags.StringSliceVar(&g.methods, "methods", []string{allMethods}, "methods to serve, such as 'shop.Orders/*'")
	flags.StringSliceVar(&g.origins, "cors", nil, "origins of web pages that may use the gateway, such as https://app.example")
	flags.BoolVar(&g.accessLog, "access-log", false, "write a line of JSON to standard error for each request")
	flags.StringVar(&g.metrics, "metrics", "", "address of an HTTP server for Prometheus, such as 127.0.0.1:9321 (default none)")
	a.AddYes(command)
	return command
}

func (g *gatewayVerb) run(ctx context.Context) error {
	if err := g.app.CheckWritable("gateway"); err != nil {
		return err
	}
	if !listensLocally(g.listen) && !g.app.Flags.Yes {
		return app.Hint(app.Usagef("--listen %s: others could call every method on the bus", g.listen),
			"add --yes if a firewall or a proxy decides who may")
	}
	if !listensLocally(g.metrics) && !g.app.Flags.Yes {
		return app.Hint(app.Usagef("--metrics %s: others could read which methods are called and how often", g.metrics),
			"add --yes if a firewall or a proxy decides who may")
	}
	chain, err := g.app.Schema()
	if err != nil {
		return err
	}
	if len(g.methods) == 0 {
		return app.Usagef("--methods names no method; '*/*' stands for all")
	}
	if err := chain.LoadFiles(); err != nil {
		return app.Exit(app.ExitFailed, err)
	}
	measured, err := listenMetrics(ctx, g.app, g.metrics)
	if err != nil {
		return err
	}
	return errors.Join(g.serve(ctx, measured), measured.close())
}

// serve serves the methods and the metrics until ctx ends.
func (g *gatewayVerb) serve(ctx context.Context, measured *metricsServer) error {
	f, err := g.app.Fleet(ctx)
	if err != nil {
		return err
	}
	server, err := g.start(ctx, f, g.app.Registry())
	if err != nil {
		return err
	}
	measured.start(g.app, f)
	if err := g.announce(server.url, measured); err != nil {
		return errors.Join(err, server.close())
	}
	notify(ctx, g.app, systemd.Ready)
	server.wait(ctx)
	notify(ctx, g.app, systemd.Stopping)
	return server.close()
}

func (g *gatewayVerb) announce(url string, measured *metricsServer) error {
	if g.app.Format() == app.FormatJSON {
		announced := map[string]any{"gateway": url, "methods": g.methods}
		if measured.url != "" {
			announced["metrics"] = measured.url
		}
		return g.app.JSON(announced)
	}
	text := fmt.Sprintf("gateway  %s\nmethods  %s\n", url, strings.Join(g.methods, ", "))
	if measured.url != "" {
		text += fmt.Sprintf("metrics  %s\n", measured.url)
	}
	return g.app.Printf("%s", text)
}

// httpServer is an HTTP server of a verb, for the services of the fleet.
type httpServer struct {
	url      string
	server   *http.Server
	follower *fleet.Follower
	served   chan error
	// shutdownLimit replaces httpShutdown, unless it is 0.
	shutdownLimit time.Duration
}

// start starts an HTTP server with the gateway for the services in reg. It keeps reg up to date
// with the services of the fleet. Unless --yes is given, it serves only requests whose Host header
// is a name of this machine.
func (g *gatewayVerb) start(ctx context.Context, f *fleet.Fleet, reg *registry.Registry) (*httpServer, error) {
	return startHTTP(ctx, g.app, "listen", g.listen, f, reg, func() (http.Handler, error) {
		handler, err := g.handler(f.Conn(), reg)
		if err != nil {
			return nil, err
		}
		return protected(g.app, g.listen, handler), nil
	})
}

// handler returns the gateway. opts are options in addition to those of the flags.
func (g *gatewayVerb) handler(conn *dynamic.Conn, reg *registry.Registry, opts ...gateway.Option) (http.Handler, error) {
	if g.accessLog {
		opts = append(opts, gateway.WithAccessLog(g.app.AccessLogger()))
	}
	handler, err := gateway.New(conn, reg, append([]gateway.Option{
		gateway.WithMethods(g.methods...), gateway.WithCORS(g.origins...), gateway.WithLogger(g.app.Logger()),
		gateway.WithReflection(), gateway.WithOpenAPI(), rest.WithAnnotations(),
	}, opts...)...)
	if err != nil {
		return nil, app.Exit(app.ExitUsage, err)
	}
	return handler, nil
}

// startHTTP starts an HTTP server for the services in reg. It keeps reg up to date with the
// services of the fleet. flag is the name of the flag with the address. newHandler returns the
// handler of the server; if it fails, startHTTP fails, too.
func startHTTP(
	ctx context.Context, a *app.App, flag, address string, f *fleet.Fleet, reg *registry.Registry, newHandler func() (http.Handler, error),
) (*httpServer, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, app.Hint(fmt.Errorf("the HTTP server cannot listen: %w", err), "--"+flag+" 127.0.0.1:0 takes a free port")
	}
	follower, err := f.Follow(ctx, reg, a.Logger())
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	handler, err := newHandler()
	if err != nil {
		return nil, errors.Join(err, follower.Close(), listener.Close())
	}
	s := &httpServer{
		url: "http://" + listener.Addr().String(), server: gateway.Server(handler), follower: follower, served: make(chan error, 1),
		shutdownLimit: a.DefaultWait,
	}
	go func() { s.served <- s.server.Serve(listener) }()
	return s, nil
}

// wait waits until ctx ends or the server has failed.
func (s *httpServer) wait(ctx context.Context) {
	select {
	case <-ctx.Done():
	case err := <-s.served:
		s.served <- err // put the error back for close
	}
}

// close stops the server. It ends streams and subscriptions, and waits for calls for at most
// httpShutdown.
func (s *httpServer) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(s.shutdownLimit, httpShutdown))
	defer cancel()
	if err := s.server.Shutdown(ctx); err != nil {
		_ = s.server.Close()
	}
	err := <-s.served
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, s.follower.Close())
}
