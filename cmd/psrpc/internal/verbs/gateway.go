package verbs

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// defaultHTTP is the address on which the gateway listens.
const defaultHTTP = "127.0.0.1:8321"

// httpShutdown is how long running requests may take to end when the verb is interrupted.
const httpShutdown = 5 * time.Second

// gatewayVerb is one run of the verb gateway.
type gatewayVerb struct {
	app     *app.App
	listen  string
	methods []string
	origins []string
}

func newGateway(a *app.App) *cobra.Command {
	g := &gatewayVerb{app: a}
	command := &cobra.Command{
		Use:   "gateway",
		Short: "Serve the methods on the bus over HTTP",
		Long: `gateway serves methods over HTTP until it is interrupted: by Connect, gRPC and gRPC-Web, as server-sent
events, as newline-delimited JSON and over WebSockets. The services are those of the files given with
-p and those that servers tell; they may come and go. It also serves gRPC's reflection and
/openapi.json. It authenticates nobody, so it listens on this machine only, and answers only requests
to localhost or 127.0.0.1, unless --yes is given.`,
		Example: `  psrpc gateway --methods 'greeting.Greeter/*' &
  curl -d '{"name":"Ada"}' -H 'Content-Type: application/json' http://` + defaultHTTP + `/greeting.Greeter/Hello
  curl -H 'Accept: text/event-stream' http://` + defaultHTTP + `/greeting.Greeter/News`,
		Args: arguments(0, 0),
		RunE: func(command *cobra.Command, _ []string) error { return g.run(command.Context()) },
	}
	flags := command.Flags()
	flags.StringVar(&g.listen, "listen", defaultHTTP, "address of the HTTP server")
	flags.StringSliceVar(&g.methods, "methods", []string{"*/*"}, "methods to serve, such as 'shop.Orders/*'")
	flags.StringSliceVar(&g.origins, "cors", nil, "origins of web pages that may use the gateway, such as https://app.example")
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
	f, err := g.app.Fleet(ctx)
	if err != nil {
		return err
	}
	server, err := g.start(ctx, f, g.app.Registry())
	if err != nil {
		return err
	}
	if err := g.announce(server.url); err != nil {
		return errors.Join(err, server.close())
	}
	server.wait(ctx)
	return server.close()
}

func (g *gatewayVerb) announce(url string) error {
	if g.app.Format() == app.FormatJSON {
		return g.app.JSON(map[string]any{"gateway": url, "methods": g.methods})
	}
	return g.app.Printf("gateway  %s\nmethods  %s\n", url, strings.Join(g.methods, ", "))
}

// httpServer is an HTTP server with the gateway as its handler.
type httpServer struct {
	url      string
	server   *http.Server
	follower *fleet.Follower
	served   chan error
}

// start starts an HTTP server for the services in reg. It keeps reg up to date with the services of
// the fleet.
func (g *gatewayVerb) start(ctx context.Context, f *fleet.Fleet, reg *registry.Registry) (*httpServer, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", g.listen)
	if err != nil {
		return nil, app.Hint(fmt.Errorf("the gateway cannot listen: %w", err), "--listen 127.0.0.1:0 takes a free port")
	}
	follower, err := f.Follow(ctx, reg, g.app.Logger())
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	handler, err := g.handler(f.Conn(), reg)
	if err != nil {
		return nil, errors.Join(app.Exit(app.ExitUsage, err), follower.Close(), listener.Close())
	}
	s := &httpServer{
		url: "http://" + listener.Addr().String(), server: gateway.Server(handler), follower: follower, served: make(chan error, 1),
	}
	if listensLocally(g.listen) && !g.app.Flags.Yes {
		s.server.Handler = onlyLocalHosts(handler)
	}
	go func() { s.served <- s.server.Serve(listener) }()
	return s, nil
}

func (g *gatewayVerb) handler(conn *dynamic.Conn, reg *registry.Registry) (http.Handler, error) {
	return gateway.New(conn, reg,
		gateway.WithMethods(g.methods...), gateway.WithCORS(g.origins...), gateway.WithLogger(g.app.Logger()),
		gateway.WithReflection(), gateway.WithOpenAPI())
}

// wait waits until ctx ends or the server has failed.
func (s *httpServer) wait(ctx context.Context) {
	select {
	case <-ctx.Done():
	case err := <-s.served:
		s.served <- err // for close
	}
}

// close stops the server. It waits for running requests, but only for httpShutdown, because
// subscriptions do not end by themselves.
func (s *httpServer) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), httpShutdown)
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

// listensLocally reports whether only this machine can reach a listener with the address.
func listensLocally(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return true // listening on this address will return the error
	}
	return isLocal(host)
}

func isLocal(host string) bool {
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// onlyLocalHosts refuses requests whose host is not this machine by its own name. A web page could
// otherwise make a browser on this machine take the gateway for the site of the page, by letting
// the name of the site stand for 127.0.0.1.
func onlyLocalHosts(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host // without a port
		}
		if !isLocal(host) {
			http.Error(w, "the gateway is for this machine: use localhost or 127.0.0.1, or psrpc gateway --yes behind a proxy", http.StatusMisdirectedRequest)
			return
		}
		handler.ServeHTTP(w, r)
	})
}
