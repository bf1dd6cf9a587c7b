package verbs

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/human"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// who is one run of the verb who.
type who struct {
	app *app.App
	requestFlags

	duration     time.Duration
	allowUnknown bool
}

func newWho(a *app.App) *cobra.Command {
	w := &who{app: a}
	cmd := &cobra.Command{
		Use:   "who METHOD [DATA]",
		Short: "Show which servers would take a request, without running it",
		Long: `who asks the servers of a method who would take a request, and lets none of them run it. It shows the
servers that claim the request, the best one first, and those that decline it. It works for psrpc's
servers, too. They decline without a word, so they count as silent.

Only methods whose servers claim requests can be asked: single methods that are not marked as
needing no claim, and streams. DATA is given as for psrpc call.`,
		Example: `  psrpc who Egress/StartEgress @request.json
  psrpc who Orders/Get id=7 -o json`,
		Args:              arguments(1, -1),
		ValidArgsFunction: completeMethods(a, canBeAsked),
		RunE:              func(cmd *cobra.Command, args []string) error { return w.run(cmd.Context(), args[0], args[1:]) },
	}
	w.addTopic(cmd)
	w.addMetadata(cmd)
	cmd.Flags().DurationVar(&w.duration, "for", cmp.Or(a.DefaultWait, dynamic.DefaultCandidatesWait), "the longest `time` to wait for servers that keep silent")
	cmd.Flags().BoolVar(&w.allowUnknown, "allow-unknown", false, "ignore fields of DATA that the schema does not have")
	a.AddDigest(cmd)
	return cmd
}

func (w *who) run(ctx context.Context, name string, args []string) error {
	if w.duration <= 0 {
		return app.Usagef("--for %v: a time is positive, such as 300ms", w.duration)
	}
	method, err := w.app.Method(ctx, name)
	if err != nil {
		return err
	}
	if !canBeAsked(method) {
		return app.Usagef("who %s: its servers do not claim requests, they would run it at once. Nothing was sent", method.FullName())
	}
	opts, err := w.options(w.app, method)
	if err != nil {
		return err
	}
	opts = append(opts, dynamic.WithRequestTimeout(w.duration))
	conn, err := w.app.Conn(ctx)
	if err != nil {
		return err
	}
	for request, err := range w.requests(ctx, method, args) {
		if err != nil {
			return err
		}
		result, err := dynamic.Candidates(ctx, conn, method.FullName(), request, opts...)
		if err != nil {
			return app.RPC(err)
		}
		if err := w.show(method, result); err != nil {
			return err
		}
	}
	return nil
}

// requests returns the messages that the argument DATA stands for. For a stream, it yields nil
// once, because a stream is opened without a message.
func (w *who) requests(ctx context.Context, method *registry.Method, args []string) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		if method.Kind() == registry.KindStream {
			if len(args) > 0 {
				yield(nil, app.Usagef("%s is a stream, which is opened without a message: leave out DATA", method.FullName()))
				return
			}
			yield(nil, nil)
			return
		}
		d := &data{app: w.app, message: method.Input(), allowUnknown: w.allowUnknown}
		for message, err := range d.messages(ctx, args) {
			if !yield(message, err) {
				return
			}
		}
	}
}

// show prints which server would handle a request. It returns an error if none would.
func (w *who) show(method *registry.Method, result *dynamic.CandidatesResult) error {
	if result.Receivers == 0 && len(result.Candidates) == 0 {
		return app.Hint(app.Nobodyf("nobody listens to %s", method.FullName()),
			hintListeners(method))
	}
	if w.app.Format() == app.FormatName {
		result.Candidates = slices.DeleteFunc(result.Candidates, func(c dynamic.Candidate) bool { return c.Declined })
	}
	if err := whoReport(result).show(w.app); err != nil {
		return err
	}
	if result.Selected == "" {
		return app.Nobodyf("nobody would take the request")
	}
	return nil
}

type whoDocument struct {
	Candidates []whoRow `json:"candidates"`
	Declined   []whoRow `json:"declined"`
	// Silent and Receivers are missing if the bus does not count receivers.
	Silent    *int `json:"silent,omitempty"`
	Receivers *int `json:"receivers,omitempty"`
	// OneOf reports whether the bus has given the request to one of several servers.
	OneOf bool  `json:"one_of_several"`
	Took  int64 `json:"took_ns"`
}

type whoRow struct {
	Server   string  `json:"server"`
	Affinity float32 `json:"affinity"`
	After    int64   `json:"after_ns"`
	Taken    bool    `json:"taken"`
}

// whoReport returns a report with one line for each server that has answered. Those that claim the
// request come first, the one with the highest affinity at the top.
func whoReport(result *dynamic.CandidatesResult) *report {
	answers := slices.Clone(result.Candidates)
	slices.SortStableFunc(answers, func(a, b dynamic.Candidate) int {
		if a.Declined != b.Declined {
			if a.Declined {
				return 1
			}
			return -1
		}
		return cmp.Compare(b.Affinity, a.Affinity)
	})
	r := &report{headers: []string{titleServer, "AFFINITY", "AFTER", ""}, wide: 4}
	document := whoDocument{
		Candidates: []whoRow{}, Declined: []whoRow{}, OneOf: result.OneOfSeveral, Took: int64(result.Took),
		Silent: known(result.Silent), Receivers: known(result.Receivers),
	}
	for _, answer := range answers {
		row := whoRow{answer.ServerID, finite(answer.Affinity), int64(answer.After), answer.ServerID == result.Selected}
		remark := ""
		switch {
		case answer.Declined:
			remark = "declines"
			document.Declined = append(document.Declined, row)
		case row.Taken:
			remark = "would be taken"
			document.Candidates = append(document.Candidates, row)
		default:
			document.Candidates = append(document.Candidates, row)
		}
		affinity := strconv.FormatFloat(float64(answer.Affinity), 'f', 2, 32)
		if answer.Declined {
			affinity = human.None
		}
		r.rows = append(r.rows, []string{answer.ServerID, affinity, human.Duration(answer.After), remark})
	}
	r.document = document
	r.notes = whoNotes(result)
	return r
}

// whoNotes returns the lines to print below the answers.
func whoNotes(result *dynamic.CandidatesResult) []string {
	var notes []string
	switch {
	case result.Silent > 0 && result.OneOfSeveral:
		notes = append(notes, fmt.Sprintf("the server that got the request kept silent for %s: it declines, or hangs", human.Duration(result.Took)))
	case result.Silent > 0:
		notes = append(notes, fmt.Sprintf("%s of %d kept silent for %s: psrpc servers that decline, or servers that hang",
			human.Plural(result.Silent, "server"), result.Receivers, human.Duration(result.Took)))
	case result.Silent == bus.Unknown && !result.Complete:
		notes = append(notes, fmt.Sprintf("the bus does not count servers: others may have kept silent for %s", human.Duration(result.Took)))
	}
	if result.OneOfSeveral {
		notes = append(notes, "the method is a queue: the bus gives each request to one of its servers, the next time perhaps to another")
	}
	return append(notes, "nothing was run")
}

// known returns n, or nil if the bus does not know the number.
func known(n int) *int {
	if n == bus.Unknown {
		return nil
	}
	return &n
}

// canBeAsked reports whether the servers of a method can be asked which of them would handle a
// request. This requires that they claim requests.
func canBeAsked(m *registry.Method) bool {
	return m.RequireClaim() && (m.Kind() == registry.KindSingle || m.Kind() == registry.KindStream)
}
