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
	// Conn sends the messages. Its registry must contain the services of the recording. Later
	// versions of the services work too, because recorded messages are decoded by their field
	// numbers.
	Conn *dynamic.Conn
	// Registry is the registry of the conn. It is used to find the methods of the recorded
	// messages.
	Registry *registry.Registry
	// Speed is the speed compared to the recording: with 2, the replay takes half as long. 0 sends
	// the messages without pauses.
	Speed float64
	// Only contains patterns for names of methods on the bus, such as "Orders/*". If it is empty, all
	// methods are replayed.
	Only []string
	// Compare makes the replay compare the responses with the recorded ones. The fields in Ignore
	// are not compared.
	Compare bool
	Ignore  Ignore
	// MaxActive is the maximum number of calls that run at once. 0 stands for [DefaultMaxActive].
	MaxActive int
	// Options apply to each call and update.
	Options []dynamic.RequestOption
	// Done is called with the outcome of each message. It may be nil. Calls to it do not overlap.
	Done func(Outcome)
}

// Status says in one word how the replay of a message has ended.
type Status string

const (
	// Sent means that the message was sent, and that no response was compared.
	Sent Status = "sent"
	// Same means that the responses are equal to the recorded ones.
	Same Status = "same"
	// Different means that the responses differ from the recorded ones.
	Different Status = "different"
	// Failed means that the call failed and that no response was compared.
	Failed Status = "failed"
	// Skipped means that the message was not sent.
	Skipped Status = "skipped"
)

// Outcome describes how the replay of one message has ended.
type Outcome struct {
	Event  Event
	Status Status
	// Reason says why the message was skipped.
	Reason string
	// Err is the error of the call.
	Err error
	// Took is how long the call took.
	Took time.Duration
	// Differences contains the differences between the recorded and the new responses, if Status is
	// Different.
	Differences []Difference
}

// message is a recorded message to replay. For an update, call is nil.
type message struct {
	event *Event
	call  *Call
}

// Run replays a recording and returns when all calls have ended. If ctx ends, it sends no more
// messages and cancels the calls. It does not replay streams.
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
			// Free the slot only after Done was called. With a single slot, this keeps the outcomes
			// in the order of the messages.
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

// messages returns the messages to replay, sorted by the times at which they were recorded.
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

// waitUntil waits until a message is due. after is how long after the first message this message
// was recorded. waitUntil returns false if ctx ends first.
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

// send replays one message and returns the outcome.
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

// answer is the answer of a server: a message, or the code of an error.
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

// values returns the values of an answer. An error has a single value: its code, under the path
// "error".
func (a answer) values(method *registry.Method, redactor *Redactor) Values {
	if a.message == nil {
		return Values{"error": string(a.code)}
	}
	redactor.Apply(a.message, method.Service())
	return ValuesOf(a.message, method.Service())
}

// compare compares the answers with the recorded ones and stores the result in outcome. If there
// are several answers, their order does not matter. compare does nothing if no response was
// recorded or a recorded one cannot be decoded.
func (r *Replay) compare(outcome *Outcome, method *registry.Method, call *Call, got []answer, redactor *Redactor) {
	var want []answer
	for i := range call.Responses {
		recorded := answer{code: call.Responses[i].Code}
		if call.Responses[i].Kind == fleet.TapResponse {
			message, err := Decode(method, &call.Responses[i])
			if err != nil {
				return // The recorded response cannot be decoded.
			}
			recorded = answer{message: message}
		}
		want = append(want, recorded)
	}
	if len(want) == 0 {
		return // No response was recorded.
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

// diffAll compares several answers, in order. If there is more than one, the paths begin with the
// index of the answer, such as "answer[0]".
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
