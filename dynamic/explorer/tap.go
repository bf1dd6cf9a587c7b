package explorer

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const (
	// maxTapMethods is the maximum number of patterns of methods.
	maxTapMethods = 64
	// maxRefusals is how many servers may refuse a tap before the explorer stops asking others.
	maxRefusals = 100
	// tapPayload is the maximum size of a message that a page shows, in bytes.
	tapPayload = 16 << 10
)

// frame is an event of a tap as a page shows it.
type frame struct {
	At     time.Time `json:"at"`
	Server string    `json:"server"`
	// Method is the full name of the method, or its name on the bus if the schema is not known.
	Method    string `json:"method"`
	Kind      string `json:"kind"`
	Direction string `json:"direction"`
	// ID is the ID of the request or stream. Client is the ID of the client.
	ID     string   `json:"id,omitempty"`
	Client string   `json:"client,omitempty"`
	Topic  []string `json:"topic,omitempty"`
	// Message is null if the message was left out, for example because it is too large. Size is its
	// size in bytes.
	Message  json.RawMessage   `json:"message,omitempty"`
	Size     uint32            `json:"size,omitempty"`
	Error    errors.ErrorCode  `json:"error,omitempty"`
	Duration *float64          `json:"duration,omitempty"`
	Affinity *float64          `json:"affinity,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

// tapOpened is the first event of a tap. It lists the servers that the page watches.
type tapOpened struct {
	Servers []string `json:"servers"`
	// Found is how many servers serve the methods. At most fleet.MaxTapped of them are watched.
	Found   int          `json:"found"`
	Refused []tapRefusal `json:"refused"`
}

type tapRefusal struct {
	Server string `json:"server"`
	problem
}

// tapQuestion says which servers and which methods a page wants to watch.
type tapQuestion struct {
	servers []string
	request fleet.TapRequest
}

// newTapQuestion reads the parameters of an HTTP request for a tap.
func newTapQuestion(values url.Values) (*tapQuestion, error) {
	q := &tapQuestion{servers: notEmpty(values["server"])}
	q.request = fleet.TapRequest{
		Methods: notEmpty(values["method"]), Filter: values.Get("filter"), Payloads: true, MaxBytes: tapPayload,
	}
	if len(q.servers) > fleet.MaxTapped || len(q.request.Methods) > maxTapMethods || len(q.request.Filter) > maxFilter {
		return nil, errors.NewErrorf(errors.InvalidArgument, "a tap has at most %d servers, %d methods, and a filter of %d bytes",
			fleet.MaxTapped, maxTapMethods, maxFilter)
	}
	for _, pattern := range q.request.Methods {
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, errors.NewErrorf(errors.InvalidArgument, "the pattern %.200q is malformed", pattern)
		}
	}
	if rate := values.Get("rate"); rate != "" {
		n, err := strconv.ParseUint(rate, 10, 32)
		if err != nil || n < 1 || n > fleet.MaxTapRate {
			return nil, errors.NewErrorf(errors.InvalidArgument, "rate %.20q: want 1 to %d", rate, fleet.MaxTapRate)
		}
		q.request.MaxPerSecond = uint32(n)
	}
	return q, compileFilter(q.request.Filter)
}

func notEmpty(list []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(text string) bool { return text == "" })
}

func (e *Explorer) serveTap(w http.ResponseWriter, r *http.Request) error {
	q, err := newTapQuestion(r.URL.Query())
	if err != nil {
		return err
	}
	servers, err := e.findServers(r, q)
	if err != nil {
		return err
	}
	s, err := e.openEvents(w, r, e.taps, "taps")
	if err != nil {
		return err
	}
	defer s.close()
	t := &tap{explorer: e, schemas: map[[2]string]*registry.Service{}}
	t.serve(s, q, servers)
	return nil
}

// tap is the tap of one page.
type tap struct {
	explorer *Explorer
	// schemas contains the services, keyed by the ID of a server and the name of the service on the
	// bus.
	schemas map[[2]string]*registry.Service
}

// findServers returns the servers that serve the methods of a question.
func (e *Explorer) findServers(r *http.Request, q *tapQuestion) ([]*fleet.Server, error) {
	ctx, end, err := e.startQuestion(r)
	if err != nil {
		return nil, err
	}
	defer end()
	current, err := e.poller.get(ctx)
	if err != nil {
		return nil, err
	}
	var servers []*fleet.Server
	for _, server := range current.peers.Servers {
		if (len(q.servers) == 0 || slices.Contains(q.servers, server.ID)) && len(q.servicesOf(server)) > 0 {
			servers = append(servers, server)
		}
	}
	if len(servers) == 0 {
		return nil, errors.NewErrorf(errors.NotFound, "no server that answers serves these methods")
	}
	return servers, nil
}

// servicesOf returns the services of a server that a page wants to watch.
func (q *tapQuestion) servicesOf(server *fleet.Server) []*fleet.Service {
	var services []*fleet.Service
	for i := range server.Services {
		service := &server.Services[i]
		if q.request.Selects(service) {
			services = append(services, service)
		}
	}
	return services
}

// loadSchema loads the schema for decoding the messages of a service on a server. If it cannot be
// loaded, the events are shown without messages.
func (t *tap) loadSchema(ctx context.Context, server string, service *fleet.Service) {
	key := schemaKey{service.Digest, service.Name, service.WireName}
	if loaded, err := t.explorer.schemas.load(ctx, t.explorer.fleet, key); err == nil {
		t.schemas[[2]string{server, service.WireName}] = loaded
	}
}

// tapped is an event of a server, or the error that has ended its tap.
type tapped struct {
	event *fleet.TapEvent
	err   error
}

// serve sends the events of the servers until the page is gone or all taps have ended.
func (t *tap) serve(s *eventStream, q *tapQuestion, servers []*fleet.Server) {
	events := make(chan tapped)
	opened := tapOpened{Servers: []string{}, Found: len(servers), Refused: []tapRefusal{}}
	ctx, stop := context.WithCancel(s.ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	for _, server := range servers {
		if len(opened.Servers) == fleet.MaxTapped || len(opened.Refused) == maxRefusals {
			break
		}
		stream, err := t.explorer.fleet.Tap(ctx, server.ID, q.request)
		if err != nil {
			opened.Refused = append(opened.Refused, tapRefusal{server.ID, problemOf(explained(err))})
			continue
		}
		for _, service := range q.servicesOf(server) {
			t.loadSchema(ctx, server.ID, service)
		}
		opened.Servers = append(opened.Servers, server.ID)
		running.Go(func() { forward(ctx, stream, events) })
	}
	if s.send("open", opened) != nil {
		return
	}
	t.forwardAll(s, events, len(opened.Servers))
}

// forwardAll sends events to the page until the taps of all servers have ended. open is the number
// of taps.
func (t *tap) forwardAll(s *eventStream, events <-chan tapped, open int) {
	var end problem
	for open > 0 {
		var err error
		select {
		case e := <-events:
			if e.event != nil {
				err = t.send(s, e.event)
				break
			}
			open--
			if e.err != nil {
				end = problemOf(e.err)
			}
		case <-s.ping.C:
			err = s.sendPing()
		case <-s.ctx.Done():
			return
		}
		if err != nil {
			return // the page is gone
		}
	}
	_ = s.send("end", end) // the stream ends here, so an error does not matter
}

// send sends an event. If events before it were left out, it sends their number first.
func (t *tap) send(s *eventStream, event *fleet.TapEvent) error {
	if event.Missed > 0 {
		if err := s.send("lost", map[string]any{"count": event.Missed, "server": event.ServerID}); err != nil {
			return err
		}
	}
	return s.send("frame", t.frame(event))
}

// explained returns the error for a server that cannot be watched. A server without [fleet.WithTap]
// does not answer at all, so explained replaces ErrNoResponse.
func explained(err error) error {
	if errors.Is(err, errors.ErrNoResponse) {
		return errors.NewErrorf(errors.FailedPrecondition, "its program must call fleet.Serve with fleet.WithTap")
	}
	return err
}

// forward passes the events of a server to events until its tap or ctx ends. At the end of the tap,
// it passes a tapped without an event.
func forward(ctx context.Context, stream *fleet.TapStream, events chan<- tapped) {
	defer func() {
		// Read the remaining events, because the stream logs a warning if they are not read.
		go func() {
			for range stream.Channel() {
			}
		}()
		_ = stream.Close() // it returns nil
	}()
	send := func(t tapped) bool {
		select {
		case events <- t:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for event := range stream.Channel() {
		if !send(tapped{event: event}) {
			return
		}
	}
	send(tapped{err: stream.Err()})
}

// frame converts an event to its JSON form for the page.
func (t *tap) frame(event *fleet.TapEvent) *frame {
	f := &frame{
		At: event.At.UTC(), Server: event.ServerID, Method: event.Method, Kind: event.Kind.String(), Direction: directionOf(event.Kind),
		ID: event.RequestID, Client: event.ClientID, Topic: event.Topic, Size: event.Size, Error: event.Code, Metadata: event.Metadata,
	}
	switch event.Kind {
	case fleet.TapResponse, fleet.TapError, fleet.TapClose:
		f.Duration = new(seconds(event.Duration))
	case fleet.TapClaim:
		f.Affinity = new(rounded(float64(event.Affinity)))
	}
	if method := t.method(event); method != nil {
		f.Method = method.FullName()
		f.Message = messageOf(method, event)
	}
	return f
}

// method returns the method of an event, or nil if its schema is not known.
func (t *tap) method(event *fleet.TapEvent) *registry.Method {
	service, name := path.Split(event.Method)
	if service == "" {
		return nil
	}
	schema := t.schemas[[2]string{event.ServerID, service[:len(service)-1]}]
	if schema == nil {
		return nil
	}
	for _, method := range schema.Methods() {
		if method.WireName() == name {
			return method
		}
	}
	return nil
}

// directionOf says whether a message came to the server ("in") or was sent by it ("out").
func directionOf(kind fleet.TapKind) string {
	switch kind {
	case fleet.TapRequested, fleet.TapOpen, fleet.TapMessageIn:
		return "in"
	default:
		return "out"
	}
}

// messageOf returns the message of an event as JSON. It returns nil if the event has no message or
// the message was left out.
func messageOf(method *registry.Method, event *fleet.TapEvent) json.RawMessage {
	var descriptor protoreflect.MessageDescriptor
	switch event.Kind {
	case fleet.TapRequested, fleet.TapMessageIn:
		descriptor = method.Input()
	case fleet.TapResponse, fleet.TapMessageOut, fleet.TapUpdate:
		descriptor = method.Output()
	default:
		return nil
	}
	if event.Size > 0 && len(event.Payload) == 0 {
		return nil
	}
	messageType, err := method.Service().FindMessageByName(descriptor.FullName())
	if err != nil {
		return nil
	}
	message := messageType.New().Interface()
	if err := (proto.UnmarshalOptions{Resolver: method.Service()}).Unmarshal(event.Payload, message); err != nil {
		return nil
	}
	encoded, err := protojson.MarshalOptions{Resolver: method.Service()}.Marshal(message)
	if err != nil {
		return nil
	}
	return encoded
}

// maxFilter is the maximum length of a filter in bytes.
const maxFilter = 4 << 10

func (e *Explorer) checkFilter(w http.ResponseWriter, r *http.Request) error {
	var request struct {
		Filter string `json:"filter"`
	}
	if err := readJSON(w, r, &request); err != nil {
		return err
	}
	if len(request.Filter) > maxFilter {
		return errors.NewErrorf(errors.InvalidArgument, "the filter has more than %d bytes", maxFilter)
	}
	if err := compileFilter(request.Filter); err != nil {
		return err
	}
	return writeJSON(w, r, struct{}{})
}
