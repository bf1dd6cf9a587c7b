package recording

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// DefaultMaxActive is the maximum number of calls of a replay that run at once.
const DefaultMaxActive = 1000

// Replay sends recorded requests and updates again.
type Replay struct {
	// Conn sends the messages. Its registry must have the services of the recording, or later versions
	// of them. A message is decoded with its recorded descriptors' field numbers, as protobuf does.
	Conn *dynamic.Conn
	// Registry is the registry of the conn.
	Registry *registry.Registry
	// Speed is the factor by which the distances between messages are shorter than recorded. 0 leaves
	// no distances.
	Speed float64
	// Only contains patterns for names of methods on the bus, such as "Orders/*". If it is empty, all
	// methods are replayed.
	Only []string
	// Compare makes the replay compare the responses with the recorded ones, except for the fields in
	// Ignore.
	Compare bool
	Ignore  Ignore
	// MaxActive is the maximum number of calls that run at once. 0 stands for [DefaultMaxActive].
	MaxActive int
	// Options apply to each call and update.
	Options []dynamic.RequestOption
	// Done is called for each message with what has come of it. Calls to it do not overlap.
	Done func(Outcome)
}

// Status is what has come of a replayed message.
type Status string

const (
	// Sent means that the message was sent, and that no response was compared.
	Sent Status = "sent"
	// Same means that the responses are the recorded ones.
	Same Status = "same"
	// Different means that the responses are others.
	Different Status = "different"
	// Failed means that the call failed and that no response was compared.
	Failed Status = "failed"
	// Skipped means that the message was not sent.
	Skipped Status = "skipped"
)

// Outcome is what has come of a replayed message.
type Outcome struct {
	Event  Event
	Status Status
	// Reason says why the message was skipped.
	Reason string
	// Err is the error of the call.
	Err error
	// Took is how long the call took.
	Took time.Duration
	// Differences are those of the responses, if Status is Different.
	Differences []Difference
}

// message is a message that is to be replayed. Its call is nil for an update.
type message struct {
	event *Event
	call  *Call
}

// Run replays a recording. It returns when all calls have ended. If ctx ends, Run sends no more
// messages and cancels the calls. Messages on streams are skipped.
func (r *Replay) Run(ctx context.Context, rec *Recording) error {
	for _, pattern := range r.Only {
		if _, err := path.Match(pattern, ""); err != nil {
			return errors.NewErrorf(errors.InvalidArgument, "the pattern %q is malformed", pattern)
		}
	}
	redactor := NewRedactor(rec.Header.Redacted...)
	var (
		calls  sync.WaitGroup
		mu     sync.Mutex
		active = make(chan struct{}, cmp.Or(max(r.MaxActive, 0), DefaultMaxActive))
	)
	defer calls.Wait()
	start, first := time.Now(), time.Time{}
	for _, m := range r.messages(rec) {
		if first.IsZero() {
			first = m.event.At
		}
		if !r.waitUntil(ctx, start, m.event.At.Sub(first)) {
			return ctx.Err()
		}
		select {
		case active <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		calls.Go(func() {
			// The slot is free when the outcome has been told, so that with one slot, the order is kept.
			defer func() { <-active }()
			outcome := r.send(ctx, m, redactor)
			mu.Lock()
			defer mu.Unlock()
			if r.Done != nil {
				r.Done(outcome)
			}
		})
	}
	return nil
}

// messages returns what is to be replayed, in the order of its times.
func (r *Replay) messages(rec *Recording) []message {
	var messages []message
	for _, call := range rec.Calls() {
		messages = append(messages, message{&call.Request, call})
	}
	for i := range rec.Events {
		switch event := &rec.Events[i]; event.Kind {
		case fleet.TapUpdate, fleet.TapOpen:
			messages = append(messages, message{event, nil})
		}
	}
	messages = slices.DeleteFunc(messages, func(m message) bool { return !r.includes(m.event.Method) })
	slices.SortStableFunc(messages, func(a, b message) int { return a.event.At.Compare(b.event.At) })
	return messages
}

func (r *Replay) includes(method string) bool {
	return len(r.Only) == 0 || slices.ContainsFunc(r.Only, func(pattern string) bool {
		matches, _ := path.Match(pattern, method)
		return matches
	})
}

// waitUntil waits until a message that was recorded at the time after the first one is due. It
// returns false if ctx ends before.
func (r *Replay) waitUntil(ctx context.Context, start time.Time, after time.Duration) bool {
	if r.Speed <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(time.Until(start.Add(time.Duration(float64(after) / r.Speed))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// send sends a message and returns what has come of it.
func (r *Replay) send(ctx context.Context, m message, redactor *Redactor) Outcome {
	outcome := Outcome{Event: *m.event, Status: Skipped}
	method := MethodOf(r.Registry, m.event)
	switch {
	case method == nil:
		outcome.Reason = "the method is not known"
		return outcome
	case m.event.Kind == fleet.TapOpen:
		outcome.Reason = "streams are not replayed"
		return outcome
	}
	payload, err := Decode(method, m.event)
	if err != nil {
		outcome.Reason = err.Error()
		return outcome
	}
	options := slices.Clone(r.Options)
	if len(m.event.Topic) > 0 {
		options = append(options, dynamic.WithTopic(m.event.Topic...))
	}
	if len(m.event.Metadata) > 0 {
		options = append(options, dynamic.WithMetadata(m.event.Metadata))
	}
	start := time.Now()
	var got []answer
	switch method.Kind() {
	case registry.KindSubscription:
		outcome.Err = dynamic.Publish(ctx, r.Conn, method.FullName(), payload, options...)
	case registry.KindSingle:
		response, err := dynamic.Invoke(ctx, r.Conn, method.FullName(), payload, options...)
		got, outcome.Err = []answer{newAnswer(response, err)}, err
	case registry.KindMulti:
		got, outcome.Err = r.multi(ctx, method, payload, options)
	default:
		outcome.Reason = "the method is a " + method.Kind().String() + " now"
		return outcome
	}
	outcome.Took = time.Since(start)
	outcome.Status = Sent
	if outcome.Err != nil {
		outcome.Status = Failed
	}
	if m.call != nil && r.Compare {
		r.compare(&outcome, method, m.call, got, redactor)
	}
	return outcome
}

// multi makes a multi call. It returns the answers of the servers, and an error if the call as a
// whole has failed.
func (r *Replay) multi(
	ctx context.Context, method *registry.Method, payload proto.Message, options []dynamic.RequestOption,
) ([]answer, error) {
	responses, err := dynamic.InvokeMulti(ctx, r.Conn, method.FullName(), payload, options...)
	if err != nil {
		return nil, err
	}
	var got []answer
	for response := range responses {
		if response.Err != nil && response.ServerID == "" {
			err = response.Err
			continue
		}
		got = append(got, newAnswer(response.Result, response.Err))
	}
	return got, err
}

// answer is what a server has answered: the code of an error, or a message.
type answer struct {
	message proto.Message
	code    errors.ErrorCode
}

func newAnswer(message proto.Message, err error) answer {
	if err == nil {
		return answer{message: message}
	}
	if coded, ok := errors.AsType[errors.Error](err); ok {
		return answer{code: coded.Code()}
	}
	return answer{code: errors.Unknown}
}

// values returns the values of an answer. The code of an error counts as a field with the name
// "error".
func (a answer) values(method *registry.Method, redactor *Redactor) Values {
	if a.message == nil {
		return Values{"error": string(a.code)}
	}
	redactor.Apply(a.message, method.Service())
	return ValuesOf(a.message, method.Service())
}

// compare compares the answers with the recorded ones. If there are several, their order does not
// matter.
func (r *Replay) compare(outcome *Outcome, method *registry.Method, call *Call, got []answer, redactor *Redactor) {
	var want []answer
	for i := range call.Responses {
		recorded := answer{code: call.Responses[i].Code}
		if call.Responses[i].Kind == fleet.TapResponse {
			message, err := Decode(method, &call.Responses[i])
			if err != nil {
				return // The recorded response is missing.
			}
			recorded = answer{message: message}
		}
		want = append(want, recorded)
	}
	if len(want) == 0 {
		return // The response was not recorded.
	}
	all := func(answers []answer) (values []Values) {
		for _, a := range answers {
			values = append(values, a.values(method, redactor))
		}
		slices.SortFunc(values, func(a, b Values) int { return strings.Compare(a.text(), b.text()) })
		return values
	}
	outcome.Differences = diffAll(all(want), all(got), r.Ignore)
	outcome.Status = Same
	if len(outcome.Differences) > 0 {
		outcome.Status = Different
	}
}

// text returns the values as text, sorted by path.
func (v Values) text() string {
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(v)) {
		b.WriteString(path + "=" + v[path] + "\n")
	}
	return b.String()
}

// diffAll compares several answers. The paths begin with the number of the answer if there is more
// than one.
func diffAll(want, got []Values, ignore Ignore) []Difference {
	if len(want) == 1 && len(got) == 1 {
		return Diff(want[0], got[0], ignore)
	}
	var differences []Difference
	for i := range max(len(want), len(got)) {
		name := fmt.Sprintf("answer[%d]", i)
		switch {
		case i >= len(want):
			differences = append(differences, Difference{Path: name, Got: "an answer"})
		case i >= len(got):
			differences = append(differences, Difference{Path: name, Want: "an answer"})
		default:
			for _, d := range Diff(want[i], got[i], ignore) {
				d.Path = name + "." + d.Path
				differences = append(differences, d)
			}
		}
	}
	return differences
}
