package verbs

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
)

// watchFlags are the flags of verbs that can show the same table repeatedly.
type watchFlags struct {
	watch    bool
	interval time.Duration
	count    int
}

func (f *watchFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&f.watch, "watch", "w", false, "repeat until Ctrl-C")
	f.addInterval(cmd)
}

func (f *watchFlags) addInterval(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&f.interval, "interval", time.Second, "the `time` between two tables")
	cmd.Flags().IntVar(&f.count, "count", 0, "repeat, and end after `N` tables")
}

// minInterval is the shortest time between two requests to a fleet.
const minInterval = 100 * time.Millisecond

// run calls show once. With --watch, it calls show repeatedly until ctx ends, --count is reached or
// show fails. On a terminal, it then clears the screen before each call, unless there is only one.
func (f *watchFlags) run(ctx context.Context, a *app.App, show func(context.Context) error) error {
	if err := f.check(); err != nil {
		return err
	}
	for shown := 1; ; shown++ {
		if f.watch && f.count != 1 && a.Terminal && a.Format() != app.FormatJSON {
			if err := a.Printf(clearScreen); err != nil {
				return err
			}
		}
		if err := show(ctx); err != nil {
			return err
		}
		if !f.watch || shown == f.count {
			return nil
		}
		if err := f.wait(ctx); err != nil {
			return err
		}
	}
}

// check returns an error if a flag has a wrong value. It also sets watch if --count is given.
func (f *watchFlags) check() error {
	if f.interval < minInterval {
		return app.Usagef("--interval %v: an interval is at least %v", f.interval, minInterval)
	}
	if f.count > 0 {
		f.watch = true
	}
	return nil
}

// wait waits for the interval. It fails if ctx ends first.
func (f *watchFlags) wait(ctx context.Context) error {
	timer := time.NewTimer(f.interval)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// clearScreen moves the cursor of a terminal to the top left, and clears what is below.
const clearScreen = "\x1b[H\x1b[J"
