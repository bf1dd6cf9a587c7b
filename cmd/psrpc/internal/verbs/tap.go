package verbs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/human"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/recording"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// maxOpenRequests is the maximum number of requests that a tap keeps until their responses arrive.
// If there are more, it forgets the earlier half.
const maxOpenRequests = 10_000

// tap is one run of the verb tap.
type tap struct {
	app    *app.App
	source tapSource
	claims bool
	// redactor removes the secrets that the context names. Servers remove only the secrets that
	// their own options mark.
	redactor *recording.Redactor
	// requests contains the messages of requests until their responses arrive. older contains those
	// of earlier requests.
	requests, older map[requestKey]json.RawMessage
	shown           uint64
}

// requestKey identifies a request on a server.
type requestKey struct{ server, client, request, method string }

func newTap(a *app.App) *cobra.Command {
	t := &tap{app: a, source: tapSource{app: a}, requests: map[requestKey]json.RawMessage{}}
	command := &cobra.Command{
		Use:   "tap [METHOD...]",
		Short: "Show the calls, stream messages and updates of servers as they happen",
		Long: `tap shows what goes through servers: a line for each call, when it ends, for each message on a stream
and for each update. METHOD is a method or service, or a pattern such as 'Orders/*'.

The servers themselves send copies, at most 20 servers and --max-rate events a second each. Their
calls do not change. They must permit it with fleet.WithTap, and they leave out secret fields.

With --passive, tap listens on the broker, so that it shows servers of psrpc, too. Clients of dynpsrpc
then count it as a server, so that some of their calls take longer; tap refuses to do this to servers
of dynpsrpc without --yes. With --replica, it listens on a replica of Redis and changes nothing.

In a filter, message is the request or the response:
  duration > duration("50ms") || code != ""
  message.amount > 100`,
		Example: `  psrpc tap 'Orders/*' --payloads
  psrpc tap Orders/Pay --filter 'code != ""' --for 1m
  psrpc tap Room --replica redis://replica:6379`,
		Args:              arguments(0, -1),
		ValidArgsFunction: completeMethods(a, nil),
		RunE: func(command *cobra.Command, args []string) error {
			return t.run(command.Context(), args)
		},
	}
	t.source.addFlags(command)
	flags := command.Flags()
	flags.BoolVar(&t.source.request.Payloads, "payloads", false, "show the messages")
	flags.Uint32Var(&t.source.request.MaxPerSecond, "max-rate", fleet.DefaultTapRate, "events a second from each server; others are left out and counted")
	flags.Uint32Var(&t.source.request.MaxBytes, "max-bytes", fleet.DefaultTapPayload, "size of a message above which it is left out")
	flags.BoolVar(&t.claims, "claims", false, "show claims and declined requests, too")
	return command
}

func (t *tap) run(ctx context.Context, patterns []string) error {
	settings, err := t.app.Settings()
	if err != nil {
		return err
	}
	t.redactor = newRedactor(settings)
	err = t.source.run(ctx, patterns, t.started, t.show)
	if t.shown > 0 || t.source.watched > 0 && (err == nil || ctx.Err() != nil) {
		t.app.Notef("%s", t.summary())
	}
	return err
}

func (t *tap) started() error {
	if t.source.isPassive() {
		t.app.Notef("listening on %s", t.source.where())
		return nil
	}
	t.app.Notef("watching %d of %s", t.source.watched, human.Plural(t.source.found, "server"))
	return nil
}

// summary returns how many events were shown and how many were left out.
func (t *tap) summary() string {
	text := human.Plural(t.shown, "event")
	if t.source.missed > 0 {
		text += fmt.Sprintf(", %s left out", human.Count(t.source.missed))
	}
	if t.source.found > 0 {
		text += fmt.Sprintf(", %d of %s", t.source.watched, human.Plural(t.source.found, "server"))
	}
	return text
}

// tapped is an event in the format json.
type tapped struct {
	Time     time.Time         `json:"time"`
	Server   string            `json:"server,omitempty"`
	Kind     string            `json:"kind"`
	Method   string            `json:"method"`
	Topic    []string          `json:"topic,omitempty"`
	Client   string            `json:"client,omitempty"`
	Request  string            `json:"request,omitempty"`
	Duration time.Duration     `json:"duration_ns,omitempty"`
	Code     errors.ErrorCode  `json:"code,omitempty"`
	Affinity float32           `json:"affinity,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Size     uint32            `json:"size,omitempty"`
	Payload  json.RawMessage   `json:"payload,omitempty"`
	Missed   uint64            `json:"missed,omitempty"`
}

// show prints an event, and reports whether it has done so. In a table, a request has no line of its
// own, but is part of the line of its response.
func (t *tap) show(event *fleet.TapEvent) (shown bool, err error) {
	isClaim := event.Kind == fleet.TapClaim || event.Kind == fleet.TapDecline
	if isClaim && !t.claims {
		return false, nil
	}
	payload := t.payload(event)
	key := requestKey{event.ServerID, event.ClientID, event.RequestID, event.Method}
	if event.Kind == fleet.TapRequested && t.app.Format() != app.FormatJSON {
		t.keep(key, payload)
		return false, nil
	}
	t.shown++
	return true, t.print(event, key, payload)
}

// keep keeps the payload of a request until its response arrives.
func (t *tap) keep(key requestKey, payload json.RawMessage) {
	if len(t.requests) >= maxOpenRequests/2 {
		t.older, t.requests = t.requests, map[requestKey]json.RawMessage{}
	}
	t.requests[key] = payload
}

// take returns the payload of a request and forgets it.
func (t *tap) take(key requestKey) json.RawMessage {
	payload, ok := t.requests[key]
	if !ok {
		payload = t.older[key]
	}
	delete(t.requests, key)
	delete(t.older, key)
	return payload
}

// print prints an event with its payload. key identifies the request to which it belongs.
func (t *tap) print(event *fleet.TapEvent, key requestKey, payload json.RawMessage) error {
	if t.app.Format() == app.FormatJSON {
		return t.app.JSON(tapped{
			Time: event.At.UTC(), Server: event.ServerID, Kind: event.Kind.String(), Method: event.Method, Topic: event.Topic,
			Client: event.ClientID, Request: event.RequestID, Duration: event.Duration, Code: event.Code,
			Affinity: finite(event.Affinity), Metadata: event.Metadata, Size: event.Size, Payload: payload, Missed: event.Missed,
		})
	}
	switch event.Kind {
	case fleet.TapResponse, fleet.TapError:
		return t.line(event, string(t.take(key)), string(payload))
	default:
		return t.line(event, string(payload), "")
	}
}

// line prints one line about an event.
func (t *tap) line(event *fleet.TapEvent, message, response string) error {
	cells := []string{
		event.At.Format("15:04:05.000"),
		padded(orNone(event.ServerID), 20),
		padded(withTopic(event), 28),
		padded(orNone(event.ClientID), 20),
		padded(took(event), 8),
		padded(what(event), 12),
		message,
	}
	if response != "" && (t.app.Wide() || message == "") {
		cells = append(cells, "-> "+response)
	}
	return t.app.Printf("%s\n", strings.TrimRight(app.OneLine(strings.Join(cells, "  ")), " "))
}

// padded returns text, with spaces at the end to fill width characters.
func padded(text string, width int) string { return fmt.Sprintf("%-*s", width, text) }

func withTopic(event *fleet.TapEvent) string {
	if len(event.Topic) == 0 {
		return event.Method
	}
	return event.Method + " " + strings.Join(event.Topic, ",")
}

// took returns how long a call or stream took. For an event that ends neither, it returns "-".
func took(event *fleet.TapEvent) string {
	switch event.Kind {
	case fleet.TapResponse, fleet.TapError, fleet.TapClose:
		return human.Duration(event.Duration)
	default:
		return human.None
	}
}

// what describes an event in a word or two: "ok", the code of an error, or the kind of the event.
func what(event *fleet.TapEvent) string {
	switch event.Kind {
	case fleet.TapResponse:
		return "ok"
	case fleet.TapError:
		return string(event.Code)
	case fleet.TapMessageIn:
		return "in"
	case fleet.TapMessageOut:
		return "out"
	case fleet.TapClaim:
		return fmt.Sprintf("claim %g", event.Affinity)
	case fleet.TapClose:
		if event.Code != "" {
			return "close " + string(event.Code)
		}
		return "close"
	default:
		return event.Kind.String()
	}
}

// payload returns the message of an event as JSON, or nil if there is none.
func (t *tap) payload(event *fleet.TapEvent) json.RawMessage {
	if len(event.Payload) == 0 && !hasEmptyMessage(t.source.request.Payloads, event) {
		return nil
	}
	method := t.source.services.method(event)
	if method == nil {
		return nil
	}
	message, err := recording.Decode(method, event)
	if err != nil {
		return nil
	}
	t.redactor.Apply(message, method.Service())
	return payloadJSON(method.Service(), message)
}

// hasEmptyMessage reports whether the message of an event is known to be empty, rather than left
// out.
func hasEmptyMessage(payloads bool, event *fleet.TapEvent) bool {
	switch event.Kind {
	case fleet.TapRequested, fleet.TapResponse, fleet.TapMessageIn, fleet.TapMessageOut, fleet.TapUpdate:
		return payloads && event.Size == 0
	default:
		return false
	}
}
