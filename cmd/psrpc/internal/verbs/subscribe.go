package verbs

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// subscribe is one run of the verb subscribe.
type subscribe struct {
	app *app.App
	requestFlags

	count        int
	duration     time.Duration
	emitDefaults bool
}

func newSubscribe(a *app.App) *cobra.Command {
	s := &subscribe{app: a}
	command := &cobra.Command{
		Use:     "subscribe METHOD",
		Aliases: []string{"sub"},
		Short:   "Print the updates of a method",
		Long: `subscribe prints the updates of a subscription method as JSON, one a line, until it is interrupted.
If the updates of the method are shared among its subscribers, as in a queue, subscribe takes its
share of them away from the others.`,
		Example: `  psrpc subscribe Greeter/News
  psrpc sub Regions/State -t eu --count 1`,
		Args:              arguments(1, 1),
		ValidArgsFunction: completeMethods(a, isSubscription),
		RunE: func(command *cobra.Command, args []string) error {
			return s.run(command.Context(), args[0])
		},
	}
	s.addTopic(command)
	command.Flags().IntVar(&s.count, "count", 0, "end after this number of updates")
	command.Flags().DurationVar(&s.duration, "for", 0, "end after this time")
	command.Flags().BoolVar(&s.emitDefaults, "emit-defaults", false, "print fields that have no value, too")
	a.AddDigest(command)
	return command
}

func isSubscription(m *registry.Method) bool { return m.Kind() == registry.KindSubscription }

// requireSubscription returns an error if a method is not a subscription.
func requireSubscription(method *registry.Method, name string) error {
	if isSubscription(method) {
		return nil
	}
	return app.Hint(app.Usagef("%s is a %s method, not a subscription", method.FullName(), method.Kind()),
		fmt.Sprintf("psrpc call %s calls it", name))
}

func (s *subscribe) run(ctx context.Context, name string) error {
	method, err := s.app.Method(ctx, name)
	if err != nil {
		return err
	}
	if err := requireSubscription(method, name); err != nil {
		return err
	}
	opts, err := s.options(s.app, method)
	if err != nil {
		return err
	}
	conn, err := s.app.Conn(ctx)
	if err != nil {
		return err
	}
	subscription, err := dynamic.InvokeSubscribe(ctx, conn, method.FullName(), opts...)
	if err != nil {
		return app.RPC(err)
	}
	s.app.Notef("subscribed to %s", method.FullName())
	var timeout <-chan time.Time
	if s.duration > 0 {
		timer := time.NewTimer(s.duration)
		defer timer.Stop()
		timeout = timer.C
	}
	for received := 0; s.count <= 0 || received < s.count; received++ {
		select {
		case update, open := <-subscription.Channel():
			if !open {
				return app.RPC(subscription.Err())
			}
			encoded, err := s.app.MessageJSON(update, s.emitDefaults)
			if err != nil {
				return err
			}
			if err := s.app.Printf("%s\n", encoded); err != nil {
				return err
			}
		case <-timeout:
			return subscription.Close()
		}
	}
	return subscription.Close()
}
