package verbs

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
)

func newLogLevel(a *app.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "log-level LEVEL SERVER...",
		Short: "Set from which level on servers log",
		Long: `Set from which level on servers log: debug, info, warn, error, or a level such as info+2.

A server accepts this only if its program calls fleet.Serve with fleet.WithAdmin and fleet.LogLevel.`,
		Example:           "  psrpc log-level debug SRV_7hXkQ2mVbN1a",
		Args:              arguments(2, -1),
		ValidArgsFunction: completeServers(a, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var level slog.Level
			if err := level.UnmarshalText([]byte(args[0])); err != nil {
				return app.Hint(app.Usagef("%s is not a level", args[0]), "levels are debug, info, warn and error")
			}
			return administer(cmd, a, args[1:], func(ctx context.Context, f *fleet.Fleet, server string) (adminRow, error) {
				previous, err := f.SetLogLevel(ctx, server, level)
				return adminRow{
					Level: level.String(), Previous: previous.String(),
					text: "logs from " + level.String() + " on (before: " + previous.String() + ")",
				}, err
			})
		},
	}
	a.AddYes(cmd)
	return cmd
}
