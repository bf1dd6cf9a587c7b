package verbs

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
)

type eventsFlags struct {
	since    string
	count    int
	duration time.Duration
}

func newEvents(a *app.App) *cobra.Command {
	var flags eventsFlags
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Watch servers start, stop, drain and change",
		Long: `Watch servers start, stop, drain and change, until Ctrl-C.

The servers that are there come first, as of their start. With --since now, only what happens from
now on is shown. Servers tell changes when these happen: nothing is heard of a server that was
killed.`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := choice("since", flags.since, sinceStart, sinceNow); err != nil {
				return err
			}
			return runEvents(cmd.Context(), a, &flags)
		},
	}
	cmd.Flags().StringVar(&flags.since, "since", sinceStart, "show changes since the `start` of the servers, or since now")
	cmd.Flags().IntVar(&flags.count, "count", 0, "end after `N` events")
	cmd.Flags().DurationVar(&flags.duration, "for", 0, "end after this `time`")
	return cmd
}

// sinceStart and sinceNow are the possible values of the flag --since.
const sinceStart, sinceNow = "start", "now"

func runEvents(ctx context.Context, a *app.App, flags *eventsFlags) error {
	f, err := a.Fleet(ctx)
	if err != nil {
		return err
	}
	watching := ctx
	if flags.duration > 0 {
		var cancel context.CancelFunc
		watching, cancel = context.WithTimeout(ctx, flags.duration)
		defer cancel()
	}
	// Subscribe before asking the servers, so that no change is missed while they answer.
	changes, err := f.Changes(watching)
	if err != nil {
		return app.RPC(err)
	}
	defer func() { _ = changes.Close() }()
	view := eventsView{app: a, count: flags.count}
	if flags.since == sinceStart {
		started, err := startedServers(watching, f, a.Wait())
		if err != nil {
			return app.RPC(err)
		}
		for i := range started {
			if done, err := view.show(&started[i]); done || err != nil {
				return err
			}
		}
	}
	for change := range changes.Channel() {
		if done, err := view.show(change); done || err != nil {
			return err
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case watching.Err() != nil: // the time of the flag --for is over
		return nil
	default:
		return app.RPC(changes.Err())
	}
}

// eventsView prints changes. If count is not 0, it ends after that many of them.
type eventsView struct {
	app   *app.App
	count int
	shown int
}

// show prints a change. done is true if it was the last one that the user wants.
func (v *eventsView) show(change *fleet.Change) (done bool, err error) {
	v.shown++
	return v.shown == v.count, showChange(v.app, change)
}

// startedServers asks the servers and returns changes in the past: when each server has started,
// and since when it has been draining. The oldest change comes first.
func startedServers(ctx context.Context, f *fleet.Fleet, wait fleet.QueryOption) ([]fleet.Change, error) {
	var started []fleet.Change
	for server, err := range f.Servers(ctx, wait) {
		switch {
		case server == nil && ctx.Err() != nil:
			continue // the time is over, so show the servers that have answered
		case server == nil:
			return nil, err
		case err != nil: // the server refuses to answer
			continue
		}
		started = append(started, fleet.Change{
			ServerID: server.ID, At: server.Started, Kind: fleet.ChangeStarted, Text: appText(server),
		})
		if server.State == fleet.StateDraining {
			started = append(started, fleet.Change{ServerID: server.ID, At: server.StateSince, Kind: fleet.ChangeDraining})
		}
	}
	slices.SortFunc(started, func(a, b fleet.Change) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(a.ServerID, b.ServerID))
	})
	return started, nil
}

type changeRow struct {
	At      time.Time `json:"at"`
	Server  string    `json:"server"`
	Kind    string    `json:"kind"`
	Service string    `json:"service,omitempty"`
	Digest  string    `json:"digest,omitempty"`
	Status  string    `json:"status,omitempty"`
	Text    string    `json:"text,omitempty"`
}

// showChange prints one change. There is no header, because the lines are printed one at a time.
func showChange(a *app.App, change *fleet.Change) error {
	row := changeRow{
		At: change.At.UTC(), Server: change.ServerID, Kind: change.Kind.String(), Service: change.Service, Text: change.Text,
	}
	details := []string{change.Service}
	if change.Digest != (fleet.Digest{}) {
		row.Digest = change.Digest.String()
		details = append(details, shortDigest(change.Digest))
	}
	if change.Kind == fleet.ChangeHealth {
		row.Status = change.Status.String()
		details = append(details, statusText(change.Status))
	}
	details = append(details, change.Text)
	switch a.Format() {
	case app.FormatJSON:
		return a.JSON(row)
	case app.FormatName:
		return a.Printf("%s\n", app.OneLine(change.ServerID))
	default:
		text := strings.Join(slices.DeleteFunc(details, func(s string) bool { return s == "" }), " ")
		line := fmt.Sprintf("%s  %-16s  %-15s  %s", change.At.In(a.Now().Location()).Format("15:04:05.000"), change.ServerID,
			strings.ReplaceAll(row.Kind, "_", " "), text)
		return a.Printf("%s\n", app.OneLine(strings.TrimRight(line, " ")))
	}
}
