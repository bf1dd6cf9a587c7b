package verbs

import (
	"context"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/doctor"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/systemd"
	"github.com/dynpsrpc/dynpsrpc/dynamic/explorer"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// defaultExplorer is the address on which the explorer listens. The ports just below it are those
// of psrpc up.
const defaultExplorer = "127.0.0.1:8324"

// tokenVariable is the environment variable with the token of the explorer's link.
const tokenVariable = "PSRPC_EXPLORER_TOKEN" //nolint:gosec // a name

// explorerVerb is one run of the verb explorer.
type explorerVerb struct {
	app      *app.App
	gateway  gatewayVerb
	hosts    []string
	readOnly bool
}

func newExplorer(a *app.App) *cobra.Command {
	e := &explorerVerb{app: a, gateway: gatewayVerb{app: a}}
	command := &cobra.Command{
		Use:   "explorer",
		Short: "Serve web pages that show the fleet and call its methods",
		Long: `explorer serves web pages until it is interrupted: the services and servers of the fleet, live; a form
for each method, to call it, to watch it or to find out which servers would take a request; taps; and
what psrpc doctor finds. It prints a link with a token. A person with the link can do everything that the
pages can. Set ` + tokenVariable + ` to keep the same link for longer than one run. The services
come from the files given with -p and from the servers on the bus.

It listens on this machine only unless --yes is given. With --host, it can be reached under another
name, for example through a proxy with TLS. In a read-only context, the pages change nothing.`,
		Example: `  psrpc explorer
  psrpc explorer --read-only --listen 127.0.0.1:9000`,
		Args: arguments(0, 0),
		RunE: func(command *cobra.Command, _ []string) error { return e.run(command.Context()) },
	}
	flags := command.Flags()
	flags.StringVar(&e.gateway.listen, "listen", defaultExplorer, "address of the HTTP server")
	flags.StringSliceVar(&e.gateway.methods, "methods", []string{allMethods}, "methods that the pages can call, such as 'shop.Orders/*'")
	flags.StringSliceVar(&e.hosts, "host", nil, "names under which the explorer may be reached, besides localhost")
	flags.BoolVar(&e.readOnly, "read-only", false, "change nothing: call only methods without side effects, and administer no servers")
	a.AddYes(command)
	return command
}

func (e *explorerVerb) run(ctx context.Context) error {
	if !listensLocally(e.gateway.listen) && !e.app.Flags.Yes {
		return app.Hint(app.Usagef("--listen %s: others could read the link's token on the network", e.gateway.listen),
			"add --yes if the network is private or a proxy encrypts")
	}
	settings, err := e.app.Settings()
	if err != nil {
		return err
	}
	e.readOnly = e.readOnly || settings.ReadOnly // --yes confirms the address only
	chain, err := e.app.Schema()
	if err != nil {
		return err
	}
	if err := chain.LoadFiles(); err != nil {
		return app.Exit(app.ExitFailed, err)
	}
	b, err := e.app.Bus(ctx)
	if err != nil {
		return err
	}
	f, err := e.app.Fleet(ctx)
	if err != nil {
		return err
	}
	if !listensLocally(e.gateway.listen) && len(e.hosts) == 0 {
		e.hosts = []string{"*"} // --yes confirms access from other machines
	}
	var pages *explorer.Explorer
	server, err := startHTTP(ctx, e.app, "listen", e.gateway.listen, f, e.app.Registry(), func() (http.Handler, error) {
		var err error
		pages, err = e.pages(f, e.app.Registry(), doctor.Target{Bus: b, Fleet: f, Variants: (&diagnosis{app: e.app}).variants})
		return pages, err
	})
	if err != nil {
		return err
	}
	if err := e.announce(pages.LoginURL(server.url)); err != nil {
		return errors.Join(err, pages.Close(), server.close())
	}
	notify(ctx, e.app, systemd.Ready)
	server.wait(ctx)
	notify(ctx, e.app, systemd.Stopping)
	return errors.Join(pages.Close(), server.close())
}

// doctorWindow is the time during which the page Doctor counts errors and losses.
const doctorWindow = 3 * time.Second

// pages returns the web pages for a fleet, which call services in reg. The page Doctor examines
// target. opts are further options of the pages.
func (e *explorerVerb) pages(f *fleet.Fleet, reg *registry.Registry, target doctor.Target, opts ...explorer.Option) (*explorer.Explorer, error) {
	// People who operate the fleet want to see why a call has failed, and which field they have
	// misspelled.
	gw, err := e.gateway.handler(f.Conn(), reg, gateway.WithErrorFacts(), gateway.WithStrictJSON(), gateway.WithPsrpcStatus())
	if err != nil {
		return nil, err
	}
	opts = append(opts,
		explorer.WithLogger(e.app.Logger()), explorer.WithHosts(e.hosts...),
		explorer.WithDoctor(func(ctx context.Context) (any, error) {
			return doctor.Examine(ctx, target, doctor.Options{Window: doctorWindow})
		}))
	if e.readOnly {
		opts = append(opts, explorer.WithReadOnly())
	}
	if token := e.app.Env(tokenVariable); token != "" {
		opts = append(opts, explorer.WithToken(token))
	}
	pages, err := explorer.New(f, gw, opts...)
	if err != nil {
		return nil, app.Exit(app.ExitUsage, err)
	}
	return pages, nil
}

func (e *explorerVerb) announce(link string) error {
	if e.app.Format() == app.FormatJSON {
		return e.app.JSON(map[string]any{"explorer": link, "methods": e.gateway.methods, "readOnly": e.readOnly})
	}
	return e.app.Printf("explorer  %s\n", link)
}
