package verbs

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/human"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/recording"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// replay is one run of the verb replay.
type replay struct {
	app *app.App

	speed, to    string
	only, ignore []string
	compare      bool
	concurrency  int
	// counts contains the number of messages for each status.
	counts map[recording.Status]uint64
	// skipped contains the number of skipped messages for each method and reason.
	skipped map[string]uint64
	// failure is the first error of a call, and problem is the first error from writing the output.
	failure, problem error
}

func newReplay(a *app.App) *cobra.Command {
	r := &replay{app: a, counts: map[recording.Status]uint64{}, skipped: map[string]uint64{}}
	command := &cobra.Command{
		Use:   "replay FILE",
		Short: "Send recorded requests again and compare the answers",
		Long: `replay sends the requests and updates of a recording in the distances in which they were recorded.
Streams are skipped.

With --compare, it prints the fields of the answers that differ from the recorded ones, and the exit
code is 5 if any do. Fields that the recording does not show, because they are secret, are not
compared. The requests do not have them either: a text is sent as "[redacted]".

A path such as items[0].price names a field. In --ignore, [*] stands for any index or key, * for any
name, and the fields inside are ignored, too.

Messages are read with the schema of the files given with -p or of the servers, else with that of the
recording.`,
		Example: `  psrpc replay traffic.psrpc --context staging
  psrpc replay traffic.psrpc --to staging --compare --ignore 'items[*].updated_at'
  psrpc replay traffic.psrpc --only 'shop.Orders/*' --speed max`,
		Args: arguments(1, 1),
		RunE: func(command *cobra.Command, args []string) error { return r.run(command.Context(), args[0]) },
	}
	flags := command.Flags()
	flags.StringVar(&r.speed, "speed", "1", "factor by which the distances are shorter, such as 2; max leaves none")
	flags.StringVar(&r.to, "to", "", "context with the bus to which the requests are sent (default: that of --context)")
	flags.StringArrayVar(&r.only, "only", nil, "methods to replay, such as shop.Orders/Get or 'shop.Orders/*'; may be repeated")
	flags.BoolVar(&r.compare, "compare", false, "compare the answers with the recorded ones")
	flags.StringArrayVar(&r.ignore, "ignore", nil, "field that may differ; may be repeated")
	flags.IntVarP(&r.concurrency, "concurrency", "c", recording.DefaultMaxActive, "the most calls at once")
	a.AddYes(command)
	return command
}

func (r *replay) run(ctx context.Context, path string) error {
	speed := 0.0
	if r.speed != "max" {
		var err error
		if speed, err = strconv.ParseFloat(r.speed, 64); err != nil || !(speed > 0) {
			return app.Usagef("--speed %s: want a factor such as 2, or max", r.speed)
		}
	}
	rec, err := loadRecording(r.app, path)
	if err != nil {
		return err
	}
	target := r.app
	if r.to != "" {
		target = secondApp(r.app)
		target.Flags.Bus, target.Flags.Context = "", r.to
		r.app.OnClose(target.Close)
	}
	if err := target.CheckWritable("replay"); err != nil {
		return err
	}
	conn, err := target.Conn(ctx)
	if err != nil {
		return err
	}
	if err := r.addSchemas(ctx, target, rec); err != nil {
		return err
	}
	run := recording.Replay{
		Conn: conn, Registry: target.Registry(), Speed: speed, Only: r.only, Compare: r.compare,
		Ignore: recording.NewIgnore(r.ignore...), MaxActive: r.concurrency, Done: r.done,
	}
	r.app.Notef("%s of %s to %s", human.Plural(len(rec.Events), "event"), rec.Header.Begun.UTC().Format("2006-01-02 15:04:05"), busName(target))
	if err := run.Run(ctx, rec); err != nil && ctx.Err() == nil {
		return app.Exit(app.ExitUsage, err)
	}
	if err := r.summary(); err != nil {
		return err
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case r.counts[recording.Different] > 0:
		return app.Exit(app.ExitUnwanted, nil)
	case len(r.counts) == 0 || r.counts[recording.Skipped] == r.total():
		return app.Nobodyf("nothing was replayed")
	case r.counts[recording.Failed]+r.counts[recording.Skipped] == r.total():
		return app.RPC(r.failure)
	default:
		return nil
	}
}

// addSchemas adds the services of the recording to the registry of the conn. It takes the schema of
// each from the files or the servers or, if it is found nowhere, from the recording.
func (r *replay) addSchemas(ctx context.Context, target *app.App, rec *recording.Recording) error {
	recorded, _, err := rec.Registry(registry.WithLogger(r.app.Logger()))
	if err != nil {
		return err
	}
	for _, service := range recorded.Services() {
		if _, err := target.Service(ctx, string(service.Name())); err == nil {
			continue
		}
		r.app.Verbosef("the schema of %s is that of the recording", service.Name())
		if _, err := target.Registry().Register(service.Descriptor(), registry.WithWireName(service.WireName())); err != nil {
			return err
		}
	}
	return nil
}

// replayed is an outcome in the format json.
type replayed struct {
	Method      string                 `json:"method"`
	Request     string                 `json:"request"`
	Status      recording.Status       `json:"status"`
	Reason      string                 `json:"reason,omitempty"`
	Code        string                 `json:"code,omitempty"`
	Error       string                 `json:"error,omitempty"`
	Took        int64                  `json:"took_ns,omitempty"`
	Differences []recording.Difference `json:"differences,omitempty"`
}

// done counts and prints the outcome of a message. In the format json, it prints every outcome.
// Otherwise, it prints only errors and differences, unless -v is given.
func (r *replay) done(o recording.Outcome) {
	r.counts[o.Status]++
	if r.failure == nil {
		r.failure = o.Err
	}
	if o.Status == recording.Skipped {
		r.skipped[o.Event.Method+": "+o.Reason]++
	}
	if r.app.Format() == app.FormatJSON {
		line := replayed{
			Method: o.Event.Method, Request: o.Event.RequestID, Status: o.Status, Reason: o.Reason,
			Took: o.Took.Nanoseconds(), Differences: o.Differences,
		}
		if o.Err != nil {
			line.Code, line.Error = codeOf(o.Err), o.Err.Error()
		}
		r.keep(r.app.JSON(line))
		return
	}
	switch o.Status {
	case recording.Different:
		r.keep(r.app.Printf("%s", app.Printable(differences(&o))))
	case recording.Failed:
		text := fmt.Sprintf("%s %s: %s: %s\n", o.Event.Method, o.Event.RequestID, codeOf(o.Err), o.Err)
		r.keep(r.app.Printf("%s", app.Printable(text)))
	default:
		r.app.Verbosef("%s %s: %s, %s", o.Event.Method, o.Event.RequestID, o.Status, human.Duration(o.Took))
	}
}

func (r *replay) keep(err error) {
	if r.problem == nil {
		r.problem = err
	}
}

// differences returns the differences of a message's answers as text, one on each line.
func differences(o *recording.Outcome) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s\n", o.Event.Method, o.Event.RequestID)
	for _, d := range o.Differences {
		fmt.Fprintf(&text, "  %s: %s -> %s\n", d.Path, orAbsent(d.Want), orAbsent(d.Got))
	}
	return text.String()
}

func orAbsent(value string) string {
	if value == "" {
		return "(absent)"
	}
	return value
}

func (r *replay) total() (total uint64) {
	for _, n := range r.counts {
		total += n
	}
	return total
}

// summary prints how many messages have had each status. In the format json, it prints this as a
// note.
func (r *replay) summary() error {
	var parts []string
	for _, status := range []recording.Status{
		recording.Same, recording.Different, recording.Sent, recording.Failed, recording.Skipped,
	} {
		if n := r.counts[status]; n > 0 {
			parts = append(parts, human.Count(n)+" "+string(status))
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(r.skipped)) {
		r.app.Notef("skipped %s of %s", human.Plural(r.skipped[reason], "message"), reason)
	}
	if len(parts) == 0 {
		return r.problem
	}
	text := fmt.Sprintf("%s: %s", human.Plural(r.total(), "message"), strings.Join(parts, ", "))
	if r.app.Format() == app.FormatJSON {
		r.app.Notef("%s", text)
		return r.problem
	}
	if err := r.app.Printf("%s\n", text); err != nil {
		return err
	}
	return r.problem
}
