package fleet

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// watches holds the clients that watch a server at the moment. While there are none, the server
// reports no traffic.
type watches struct {
	server *dynamic.Server
	mu     sync.Mutex
	// current holds the watches. The slice is replaced but never modified, so it can be read
	// without a lock.
	current atomic.Pointer[[]*watch]
}

// add adds a watch. It returns an error if there are too many.
func (w *watches) add(added *watch) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	current := w.all()
	if len(current) >= MaxTaps {
		return errors.NewErrorf(errors.ResourceExhausted,
			"server %s is already watched by %d clients, which is the limit", w.server.ID(), MaxTaps)
	}
	w.setLocked(append(slices.Clone(current), added))
	return nil
}

// remove ends a watch that add has added.
func (w *watches) remove(removed *watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.setLocked(slices.DeleteFunc(slices.Clone(w.all()), func(other *watch) bool { return other == removed }))
}

func (w *watches) setLocked(current []*watch) {
	w.current.Store(&current)
	if len(current) == 0 {
		w.server.SetTap(nil)
		return
	}
	w.server.SetTap(func(t *dynamic.Traffic) {
		for _, watch := range w.all() {
			watch.offer(t)
		}
	})
}

func (w *watches) all() []*watch {
	if current := w.current.Load(); current != nil {
		return *current
	}
	return nil
}

// watch decides which events one client receives, and holds them until they are sent. offer is
// called for all traffic of the server. next is called by the goroutine that sends the events.
type watch struct {
	payloads   bool
	maxPayload int
	sample     float64
	methods    methodPatterns
	filter     TapFilter
	metadata   []string
	redactor   *redactor
	// matches caches for each *registry.Method whether the client wants to see it.
	matches sync.Map
	// wakeup receives a value when an event has been added to waiting.
	wakeup chan struct{}
	// sent limits the number of events per second that pass the filter. Only the goroutine that
	// calls next uses it, so it needs no lock. It is used only with a filter. Otherwise, examined
	// has the same limit.
	sent rateLimiter

	mu sync.Mutex
	// work limits the time spent on decoding and filtering events.
	work workLimiter
	// examined limits the number of events per second that are added to waiting.
	examined rateLimiter
	waiting  []waitingEvent
	// waitingBytes is the total size of the encoded messages in waiting.
	waitingBytes int
	// missed counts the events that a limit has left out since the last event was sent.
	missed uint64
}

// waitingEvent is an event whose message has not been decoded yet.
type waitingEvent struct {
	event TapEvent
	// messageType is the type of the message, or nil if there is no message.
	messageType protoreflect.MessageDescriptor
	encoded     []byte
}

// newWatch returns the watch for a client's request, or an error if the request is invalid.
func newWatch(request *TapRequest, options *tapOptions) (*watch, error) {
	methods, err := newMethodPatterns(request.Methods)
	if err != nil {
		return nil, err
	}
	w := &watch{
		payloads: request.Payloads, methods: methods, metadata: options.metadata, redactor: newRedactor(options.redact),
		maxPayload: withDefault(int(request.MaxBytes), DefaultTapPayload, MaxTapPayload),
		wakeup:     make(chan struct{}, 1), sample: request.Sample,
	}
	switch {
	case w.sample == 0:
		w.sample = 1
	case !(w.sample > 0 && w.sample <= 1):
		return nil, errors.NewErrorf(errors.InvalidArgument, "the sample %g is not in the range (0,1]", w.sample)
	}
	w.sent.max = withDefault(int(request.MaxPerSecond), DefaultTapRate, MaxTapRate)
	w.examined.max = w.sent.max
	if request.Filter == "" {
		return w, nil
	}
	if options.compile == nil {
		return nil, errors.NewErrorf(errors.Unimplemented,
			"the server evaluates no filters: it would need fleet.WithTap(fleet.Filters(tapfilter.Compile))")
	}
	w.examined.max *= examinedPerEvent
	w.filter, err = options.compile(request.Filter)
	return w, err
}

// withDefault returns value, or fallback if value is not positive, but at most highest.
func withDefault(value, fallback, highest int) int {
	if value <= 0 {
		value = fallback
	}
	return min(value, highest)
}

// offer adds an event to w.waiting if the client wants to see it and no limit has been reached.
func (w *watch) offer(t *dynamic.Traffic) {
	if !w.wants(t.Method) || !isSampled(t.RequestID, w.sample) {
		return
	}
	now := time.Now()
	if !w.admit(now) {
		return
	}
	waiting := waitingEvent{event: TapEvent{
		At: now, Kind: TapKind(t.Kind), Method: t.Method.Service().WireName() + "/" + t.Method.WireName(), Topic: t.Topic,
		ClientID: cut(t.ClientID, maxTapText), RequestID: string(t.RequestID[:min(len(t.RequestID), maxTapText)]),
		Duration: t.Duration, Code: t.Code, Affinity: t.Affinity,
		Metadata: w.allowed(t.Metadata),
	}}
	if w.payloads || w.filter != nil {
		waiting.addMessage(t, w.maxPayload)
	}
	w.mu.Lock()
	w.waiting = append(w.waiting, waiting)
	w.waitingBytes += len(waiting.encoded)
	w.mu.Unlock()
	select {
	case w.wakeup <- struct{}{}:
	default:
	}
}

// wants reports whether the client wants to see a method. The control services are never shown,
// because the events of a tap would cause further events.
func (w *watch) wants(method *registry.Method) bool {
	if known, ok := w.matches.Load(method); ok {
		return known.(bool)
	}
	wanted := !IsControlService(method.Service().WireName()) && w.methods.match(method)
	w.matches.Store(method, wanted)
	return wanted
}

// admit reports whether the limits allow another event. If not, it counts the event as missed.
func (w *watch) admit(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) >= maxTapQueue || w.waitingBytes >= maxTapQueueBytes ||
		!w.work.allow(now) || !w.examined.allow(now) {
		w.missed++
		return false
	}
	return true
}

// allowed returns the metadata that clients may see.
func (w *watch) allowed(metadata map[string]string) (allowed map[string]string) {
	for key, value := range metadata {
		if slices.Contains(w.metadata, strings.ToLower(key)) {
			if allowed == nil {
				allowed = map[string]string{}
			}
			allowed[key] = cut(value, maxTapText)
		}
	}
	return allowed
}

// addMessage adds the encoded message and its size. It leaves out a message that is larger than
// limit bytes or that cannot be encoded.
func (e *waitingEvent) addMessage(t *dynamic.Traffic, limit int) {
	encoded := t.Encoded
	if t.Message != nil {
		if size := proto.Size(t.Message); size > limit {
			e.event.Size = uint32(size) //nolint:gosec // frames are smaller
			return
		}
		var err error
		if encoded, err = (proto.MarshalOptions{AllowPartial: true}).Marshal(t.Message); err != nil {
			return
		}
	}
	e.event.Size = uint32(len(encoded)) //nolint:gosec // frames are smaller
	if len(encoded) > limit {
		return
	}
	switch e.event.Kind {
	case TapRequested, TapMessageIn:
		e.messageType = t.Method.Input()
	case TapResponse, TapMessageOut, TapUpdate:
		e.messageType = t.Method.Output()
	default:
		return
	}
	e.encoded = slices.Clone(encoded)
}

// next returns the next event to send, or nil if no event waits or ctx has ended. It checks ctx
// after each event, because a strict filter may reject events for a long time.
func (w *watch) next(ctx context.Context) *TapEvent {
	for ctx.Err() == nil {
		w.mu.Lock()
		if len(w.waiting) == 0 {
			w.mu.Unlock()
			return nil
		}
		waiting := w.waiting[0]
		w.waiting[0] = waitingEvent{}
		if w.waiting = w.waiting[1:]; len(w.waiting) == 0 {
			w.waiting = nil
		}
		w.waitingBytes -= len(waiting.encoded)
		started := time.Now()
		allowed := w.work.allow(started)
		if !allowed {
			w.missed++
		}
		w.mu.Unlock()
		if !allowed {
			continue
		}
		event := w.finish(&waiting)
		w.mu.Lock()
		w.work.debt += time.Since(started)
		w.mu.Unlock()
		if event != nil {
			return event
		}
	}
	return nil
}

// finish decodes, redacts and filters an event. It returns nil if the event must not be sent.
func (w *watch) finish(waiting *waitingEvent) *TapEvent {
	event := &waiting.event
	var message protoreflect.Message
	if waiting.messageType != nil {
		// A message that cannot be decoded cannot be redacted either, so it is left out.
		message, _ = w.redactor.decode(waiting.messageType, waiting.encoded)
	}
	if w.filter != nil {
		if !w.filter(event, message) {
			return nil
		}
		if !w.sent.allow(event.At) {
			w.mu.Lock()
			w.missed++
			w.mu.Unlock()
			return nil
		}
	}
	if message != nil && w.payloads {
		event.Payload, _ = (proto.MarshalOptions{AllowPartial: true, Deterministic: true}).Marshal(message.Interface())
	}
	w.mu.Lock()
	event.Missed, w.missed = w.missed, 0
	w.mu.Unlock()
	return event
}
