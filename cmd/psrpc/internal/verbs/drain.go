package verbs

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
)

func newDrain(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drain SERVER...",
		Short: "Make servers take no new requests, and finish those that they have",
		Long: `Make servers take no new requests, and finish those that they have.

The servers go on to run: psrpc resume makes them take requests again. A server accepts this only if
its program calls fleet.Serve with fleet.WithAdmin.`,
		Args:              arguments(1, -1),
		ValidArgsFunction: completeServers(a, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			return administer(cmd, a, args, func(ctx context.Context, f *fleet.Fleet, server string) (adminRow, error) {
				state, err := f.Drain(ctx, server)
				return adminRow{State: state.String(), text: "is " + state.String()}, err
			})
		},
	}
	a.AddYes(cmd)
	return cmd
}
