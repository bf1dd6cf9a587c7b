package verbs

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
)

func newResume(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "resume SERVER...",
		Short:             "Make drained servers take requests again",
		Args:              arguments(1, -1),
		ValidArgsFunction: completeServers(a, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			return administer(cmd, a, args, func(ctx context.Context, f *fleet.Fleet, server string) (adminRow, error) {
				state, err := f.Resume(ctx, server)
				return adminRow{State: state.String(), text: "is " + state.String()}, err
			})
		},
	}
	a.AddYes(cmd)
	return cmd
}
