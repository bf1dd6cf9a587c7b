package verbs

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/human"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// publish is one run of the verb publish.
type publish struct {
	app *app.App
	requestFlags

	count        int
	rate         float64
	allowUnknown bool
}

func newPublish(a *app.App) *cobra.Command {
	p := &publish{app: a}
	command := &cobra.Command{
		Use:     "publish METHOD [DATA...]",
		Aliases: []string{"pub"},
		Short:   "Send updates to the subscribers of a method",
		Long: `publish sends an update to the subscribers of a subscription method, as the servers of the method do.
DATA is given as for psrpc call. Several JSON values make several updates.`,
		Example: `  psrpc publish Greeter/News text=hello
  psrpc pub Regions/State -t eu --count 100 --rate 10 '{"load":0.5}'`,
		Args:              arguments(1, -1),
		ValidArgsFunction: completeMethods(a, isSubscription),
		RunE: func(command *cobra.Command, args []string) error {
			return p.run(command.Context(), args[0], args[1:])
		},
	}
	p.addTopic(command)
	p.addMetadata(command)
	command.Flags().IntVar(&p.count, "count", 1, "number of times that each update is sent")
	command.Flags().Float64Var(&p.rate, "rate", 0, "maximum number of updates per second (default no limit)")
	command.Flags().BoolVar(&p.allowUnknown, "allow-unknown", false, "ignore fields of DATA that the schema does not have")
	a.AddDigest(command)
	a.AddYes(command)
	return command
}

func (p *publish) run(ctx context.Context, name string, args []string) error {
	if err := p.app.CheckWritable("publish"); err != nil {
		return err
	}
	if p.count < 1 {
		return app.Usagef("--count must be at least 1")
	}
	method, err := p.app.Method(ctx, name)
	if err != nil {
		return err
	}
	if err := requireSubscription(method, name); err != nil {
		return err
	}
	opts, err := p.options(p.app, method)
	if err != nil {
		return err
	}
	conn, err := p.app.Conn(ctx)
	if err != nil {
		return err
	}
	published := 0
	start := time.Now()
	d := &data{app: p.app, message: method.Output(), allowUnknown: p.allowUnknown}
	for message, err := range d.messages(ctx, args) {
		if err != nil {
			return err
		}
		for range p.count {
			if err := p.pause(ctx, start, published); err != nil {
				return err
			}
			if err := dynamic.Publish(ctx, conn, method.FullName(), message, opts...); err != nil {
				return app.RPC(err)
			}
			published++
		}
	}
	p.app.Notef("%s published", human.Plural(published, "update"))
	return nil
}

// pause waits until the next update is due. published is how many updates have been sent since
// start.
func (p *publish) pause(ctx context.Context, start time.Time, published int) error {
	if p.rate == 0 {
		return nil
	}
	due := start.Add(time.Duration(float64(published) / p.rate * float64(time.Second)))
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
