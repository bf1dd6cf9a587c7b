package verbs

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/human"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/summary"
)

func newTop(a *app.App) *cobra.Command {
	var flags loadFlags
	var once bool
	var rows int
	watch := watchFlags{watch: true}
	cmd := &cobra.Command{
		Use:   "top [SERVICE|METHOD]",
		Short: "Watch what a fleet does now, the busiest first",
		Long: `Watch what a fleet does now, the busiest first, until Ctrl-C.

Each table is of the last interval. On a terminal, it takes the place of the table before.`,
		Args:              arguments(0, 1),
		ValidArgsFunction: completeServices(a, true),
		RunE: func(cmd *cobra.Command, args []string) error {
			view, err := flags.view(args)
			if err != nil {
				return err
			}
			if once {
				watch.count = 1
			}
			return runTop(cmd.Context(), a, view, &watch, rows)
		},
	}
	flags.add(cmd, summary.ByMethod, summary.SortRate)
	watch.addInterval(cmd)
	cmd.Flags().BoolVar(&once, "once", false, "print one table, of one interval, and end")
	cmd.Flags().IntVar(&rows, "rows", 20, "show at most `N` lines; 0 shows all")
	return cmd
}

func runTop(ctx context.Context, a *app.App, view *loadView, watch *watchFlags, rows int) error {
	if err := watch.check(); err != nil {
		return err
	}
	var err error
	if view.before, err = view.ask(ctx, a); err != nil {
		return err
	}
	if err := watch.wait(ctx); err != nil {
		return err
	}
	return watch.run(ctx, a, func(ctx context.Context) error {
		servers, err := view.ask(ctx, a)
		if err != nil {
			return err
		}
		total := summary.Loads(view.before, servers, summary.ByServer, view.keep())
		loads := summary.Loads(view.before, servers, view.by, view.keep())
		view.before = servers
		if len(loads) == 0 {
			return nothingCounted(view.filter, servers)
		}
		summary.SortLoads(loads, view.sort)
		if rows > 0 && len(loads) > rows {
			loads = loads[:rows]
		}
		if err := note(a, topLine(a.Now(), total)); err != nil {
			return err
		}
		return loadReport(view.by, loads, a.Now()).show(a)
	})
}

// topLine returns the line above the table: the time, and the load of all servers together.
func topLine(now time.Time, servers []summary.Load) string {
	var total summary.Load
	for i := range servers {
		total.PerSecond += servers[i].PerSecond
		total.OK += servers[i].OK
		total.Failed += servers[i].Failed
		total.Active += servers[i].Active
	}
	return fmt.Sprintf("%s  %s  %s calls/s  %s failed  %s active", now.Format(time.TimeOnly),
		human.Plural(len(servers), "server"), human.Rate(total.PerSecond),
		human.Percent(total.Failed, total.Ended()), human.Count(total.Active))
}
