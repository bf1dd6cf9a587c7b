package verbs

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

func newMan(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write manual pages into a directory",
		Example: "  psrpc man /usr/local/share/man/man1",
		Args:    arguments(1, 1),
		RunE: func(command *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil { //nolint:gosec // all users read manual pages
				return err
			}
			command.Root().DisableAutoGenTag = true
			header := &doc.GenManHeader{Section: "1", Source: "psrpc " + dynamic.Version, Manual: "psrpc"}
			if err := doc.GenManTree(command.Root(), header, args[0]); err != nil {
				return fmt.Errorf("manual pages: %w", err)
			}
			a.Notef("manual pages written to %s", args[0])
			return nil
		},
	}
}
