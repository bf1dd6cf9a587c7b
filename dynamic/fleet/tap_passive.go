package fleet

import (
	"context"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const (
	// maxPassiveSubscriptions is the maximum number of channels to which a passive tap subscribes.
	maxPassiveSubscriptions = 10_000
	// maxChannelName is the maximum length in bytes of a channel name that contains the ID or the
	// address of a peer.
	maxChannelName = 1 << 10
)

// PassiveTap configures a passive tap; see [Fleet.TapPassive].
type PassiveTap struct {
	// TapRequest selects the events, as for a tap on a server. All limits apply.
	TapRequest
	// Services are the services to watch, with their methods.
	Services []*registry.Service
	// Topics holds the topics of methods to watch, keyed by the full name of the method. Methods
	// with topics are watched on these topics, and on those that the bus knows; see
	// [bus.Inspector].
	Topics map[string][][]string
	// Replica is a bus that is connected to a read-only replica of the broker. If it is set, the
	// tap reads frames there. Clients do not count the receivers on a replica, so the tap has no
	// effect on calls.
	Replica bus.Bus
	// Anyway starts the tap even if it changes how calls end; see [ObserverEffectError].
	Anyway bool
	// Options are the same options as for [WithTap], for example to remove secret fields.
	Options []TapOption
}

// ObserverEffectError says that a passive tap would change what it observes, and was therefore not
// started.
type ObserverEffectError struct {
	// Services holds the wire names of the services that have dynpsrpc servers.
	Services []string
}

// Error implements error.
func (e *ObserverEffectError) Error() string {
	return "a passive tap counts as a server of " + strings.Join(e.Services, ", ") + ": while it runs, calls to a method without " +
		"servers wait for their timeout instead of failing at once, and multi calls and first affinity calls wait for " +
		"theirs; ask the servers for a tap, or tap a replica of the broker"
}

// TapPassive shows what passes through a bus without the help of the servers, for example to watch
// servers of psrpc. It subscribes to the channels of the services as if it were one of their
// servers. Clients of dynpsrpc count it as a server that never answers, so that some of their calls
// take longer; clients of psrpc do not notice. If there are or may be servers of dynpsrpc,
// TapPassive therefore fails with an [*ObserverEffectError] unless request.Anyway or
// request.Replica is set.
//
// Each client receives its responses on channels of its own. TapPassive subscribes to the channels
// of a new client when it sees the client's first request, so it may miss the response to that
// request. The field Missed of the events also counts claims, responses and stream frames of calls
// whose requests TapPassive has not seen.
//
// The sequence ends when ctx ends or when the caller stops it. If the tap cannot be started, the
// sequence contains only the error.
func (f *Fleet) TapPassive(ctx context.Context, request PassiveTap) iter.Seq2[*TapEvent, error] {
	return func(yield func(*TapEvent, error) bool) {
		tap, err := f.startPassive(ctx, &request)
		if err != nil {
			yield(nil, err)
			return
		}
		defer tap.stop()
		for event := range tap.all(ctx) {
			if !yield(event, nil) {
				return
			}
		}
	}
}

// all returns the events of the tap until ctx ends.
func (p *passiveTap) all(ctx context.Context) iter.Seq[*TapEvent] {
	return func(yield func(*TapEvent) bool) {
		for {
			for event := p.watch.next(ctx); event != nil; event = p.watch.next(ctx) {
				event.Missed += p.frames.takeUnknown()
				if !yield(event) {
					return
				}
			}
			select {
			case <-p.watch.wakeup:
			case <-ctx.Done():
				return
			}
		}
	}
}

// passiveTap is a running passive tap.
type passiveTap struct {
	bus    bus.Bus
	ctx    context.Context //nolint:containedctx // it has the tap's lifetime
	cancel context.CancelFunc
	watch  *watch
	frames frameReader
	// onReplica reports whether bus is a replica, where no client notices subscriptions.
	onReplica bool
	// requests holds the methods that are watched, keyed by the name of their request channels. It
	// does not change after the start.
	requests map[string]watchedMethod
	// subscribing receives the channels of the bus that handlers have found in frames. Handlers
	// must not wait, so another goroutine subscribes to the channels.
	subscribing chan passiveChannel
	running     sync.WaitGroup

	mu sync.Mutex
	// known holds the names of all channels to which the tap has subscribed or will subscribe.
	known         map[string]bool
	subscriptions []bus.Subscription
}

// watchedMethod is a method and, if the method has topics, one of its topics.
type watchedMethod struct {
	method *registry.Method
	topic  []string
}

// passiveChannel is a channel to which a passive tap subscribes.
type passiveChannel struct {
	channel bus.Channel
	handler bus.Handler
}

func (f *Fleet) startPassive(ctx context.Context, request *PassiveTap) (*passiveTap, error) {
	watch, err := newWatch(&request.TapRequest, newTapOptions(request.Options))
	if err != nil {
		return nil, err
	}
	source := request.Replica
	if source == nil {
		source = f.conn.Bus()
		if !request.Anyway {
			if err := checkObserverEffect(ctx, source, request.Services); err != nil {
				return nil, err
			}
		}
	} else if err := checkReplica(ctx, source); err != nil {
		return nil, err
	}
	tap := &passiveTap{
		bus: source, watch: watch, onReplica: request.Replica != nil, requests: map[string]watchedMethod{},
		known: map[string]bool{}, subscribing: make(chan passiveChannel, maxPassiveSubscriptions),
	}
	tap.ctx, tap.cancel = context.WithCancel(ctx)
	tap.frames.report = watch.offer
	if err := tap.subscribeServices(request, f.conn.Bus()); err != nil {
		tap.stop()
		return nil, err
	}
	tap.running.Go(tap.subscribeKnown)
	return tap, nil
}

// stop ends all subscriptions and waits for the goroutine of the tap.
func (p *passiveTap) stop() {
	p.cancel()
	p.running.Wait()
	for _, s := range p.subscriptions {
		s.Close()
	}
}

// subscribeServices subscribes to the channels of the methods that are watched. scanned is the bus
// to scan for topics, clients and servers. It differs from p.bus if that is a replica.
func (p *passiveTap) subscribeServices(request *PassiveTap, scanned bus.Bus) error {
	found, err := scanServices(p.ctx, scanned, request.Services)
	if err != nil {
		return err
	}
	for _, service := range request.Services {
		for _, method := range service.Methods() {
			if !p.watch.wants(method) {
				continue
			}
			topics := [][]string{nil}
			if method.Topics() {
				topics = slices.Concat(request.Topics[method.FullName()], found.topics[scannedMethod{service.WireName(), method.WireName()}])
			}
			for _, topic := range topics {
				if err := p.subscribeMethod(method, topic); err != nil {
					return err
				}
			}
		}
	}
	for _, client := range found.clients {
		p.onClient(client.service, client.id)
	}
	if !p.onReplica {
		return nil
	}
	for _, server := range found.servers {
		p.onServer(server.service, server.id)
	}
	for _, service := range request.Services {
		err := p.subscribe(bus.Channel(wire.PresenceChannel(service.WireName())), func(frame []byte) {
			p.onPresence(service.WireName(), frame)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// subscribeMethod subscribes to the requests, stream frames or updates of a method.
func (p *passiveTap) subscribeMethod(method *registry.Method, topic []string) error {
	service := method.Service().WireName()
	channel := wire.RequestChannel(service, method.WireName(), topic, method.Queue())
	p.requests[channel.Name] = watchedMethod{method, topic}
	if method.Kind() == registry.KindStream {
		channel = wire.StreamServerChannel(service, method.WireName(), topic)
	}
	return p.subscribe(bus.Channel(channel), func(frame []byte) { p.onServerFrame(method, topic, frame) })
}

// onServerFrame reads a frame that was sent to the servers of a method. If the frame comes from a
// new client, it also subscribes to what servers send to that client.
func (p *passiveTap) onServerFrame(method *registry.Method, topic []string, frame []byte) {
	if clientID := p.frames.onServerFrame(method, topic, frame); clientID != "" {
		p.onClient(method.Service().WireName(), clientID)
	}
}

// onClient subscribes to what servers send to a client.
func (p *passiveTap) onClient(service, clientID string) {
	p.subscribeLater(wire.ResponseChannel(service, clientID), p.frames.onClientFrame)
	p.subscribeLater(wire.ClaimRequestChannel(service, clientID), p.frames.onClientFrame)
	p.subscribeLater(wire.StreamClientChannel(service, clientID), p.frames.onClientFrame)
}

// onServer subscribes to the requests that are sent to one server only. It is called only on a
// replica. On the broker itself, the subscription would hide from clients that the server is gone.
func (p *passiveTap) onServer(service, address string) {
	p.subscribeLater(wire.UnicastChannel(service, address), func(frame []byte) {
		envelope, err := wire.ParseEnvelope(frame)
		if err != nil || envelope.Kind != wire.KindRequest {
			return
		}
		if watched, ok := p.requests[string(envelope.RoutingKey)]; ok {
			p.onServerFrame(watched.method, watched.topic, frame)
		}
	})
}

// onPresence reads a message in which a server announces itself, and subscribes to that server's
// requests.
func (p *passiveTap) onPresence(service string, frame []byte) {
	envelope, err := wire.ParseEnvelope(frame)
	if err != nil || envelope.Kind != wire.KindPresence {
		return
	}
	presence, err := wire.ParsePresence(envelope.Value)
	if err == nil && presence.State == wire.PresenceServing && len(presence.Address) > 0 {
		p.onServer(service, string(presence.Address))
	}
}

// subscribeLater makes the goroutine of the tap subscribe to a channel, and never blocks. It
// ignores a channel that is known already or whose name is too long. It ignores every new channel
// if maxPassiveSubscriptions are known.
func (p *passiveTap) subscribeLater(channel wire.Channel, handler bus.Handler) {
	if len(channel.Name) > maxChannelName {
		return
	}
	if added, _ := p.add(channel.Name); added {
		// This does not block: the Go channel has room for all channels that may become known.
		p.subscribing <- passiveChannel{bus.Channel(channel), handler}
	}
}

// add adds a channel to p.known. added is false if the channel is known already or if too many
// channels are known. full is true if too many channels are known.
func (p *passiveTap) add(name string) (added, full bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.known[name]:
		return false, false
	case len(p.known) >= maxPassiveSubscriptions:
		return false, true
	}
	p.known[name] = true
	return true, false
}

// subscribeKnown subscribes to the channels from p.subscribing until the tap stops.
func (p *passiveTap) subscribeKnown() {
	for {
		select {
		case c := <-p.subscribing:
			// If this fails, the tap goes on without the events of this channel.
			_ = p.open(c.channel, c.handler)
		case <-p.ctx.Done():
			return
		}
	}
}

// subscribe subscribes to a channel and waits until the bus has confirmed it. If the channel is
// known already, it returns nil at once.
func (p *passiveTap) subscribe(channel bus.Channel, handler bus.Handler) error {
	switch added, full := p.add(channel.Name); {
	case added:
		return p.open(channel, handler)
	case full:
		return errors.NewErrorf(errors.ResourceExhausted,
			"a passive tap cannot watch more than %d channels: name the methods to watch", maxPassiveSubscriptions)
	default:
		return nil
	}
}

func (p *passiveTap) open(channel bus.Channel, handler bus.Handler) error {
	// A broadcast subscription gets every frame, even on the channel of a queue.
	s, err := p.bus.Subscribe(p.ctx, channel, bus.Broadcast, handler)
	if err != nil {
		return errors.NewErrorf(errors.Unavailable, "passive tap: cannot subscribe to %s: %w", channel, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.subscriptions = append(p.subscriptions, s)
	return nil
}

// checkObserverEffect returns an error unless the bus reports that no servers of dynpsrpc serve the
// services. It recognizes such servers by their subscriptions to cancellations, which psrpc servers
// do not have.
func checkObserverEffect(ctx context.Context, b bus.Bus, services []*registry.Service) error {
	var channels []bus.Channel
	var names []string
	for _, service := range services {
		channels = append(channels, bus.Channel(wire.CancelChannel(service.WireName())))
		names = append(names, service.WireName())
	}
	inspector, ok := b.(bus.Inspector)
	if !ok {
		return &ObserverEffectError{Services: names}
	}
	counts, err := inspector.Count(ctx, channels...)
	if err != nil {
		return errors.NewErrorf(errors.Unavailable, "passive tap: cannot find out whether there are servers of dynpsrpc: %w", err)
	}
	var affected []string
	for i, count := range counts {
		if count != 0 {
			affected = append(affected, names[i])
		}
	}
	if len(affected) > 0 {
		return &ObserverEffectError{Services: affected}
	}
	return nil
}

// checkReplica returns an error unless the bus is connected to a replica.
func checkReplica(ctx context.Context, b bus.Bus) error {
	informed, ok := b.(bus.Informed)
	if !ok {
		return errors.NewErrorf(errors.InvalidArgument, "passive tap: this bus has no replicas")
	}
	info, err := informed.Info(ctx)
	if err != nil {
		return err
	}
	if info.Role != "replica" {
		return errors.NewErrorf(errors.FailedPrecondition,
			"passive tap: the broker is not a replica but has the role %q, so the tap would count as a server", info.Role)
	}
	return nil
}

// scanResult contains what the bus knows about services: the topics of their methods, and their
// clients and servers.
type scanResult struct {
	topics           map[scannedMethod][][]string
	clients, servers []scannedPeer
}

// scannedMethod identifies a method by the wire names of its service and of itself.
type scannedMethod struct{ service, name string }

// scannedPeer is a client with its ID, or a server with its address.
type scannedPeer struct{ service, id string }

// scanServices finds the topics, clients and servers of services. The result is empty if the bus
// does not support a scan; see [bus.Inspector].
func scanServices(ctx context.Context, b bus.Bus, services []*registry.Service) (found scanResult, err error) {
	found.topics = map[scannedMethod][][]string{}
	inspector, ok := b.(bus.Inspector)
	if !ok {
		return found, nil
	}
	names := map[string]bool{}
	for _, service := range services {
		names[service.WireName()] = true
	}
	for presence, err := range inspector.Scan(ctx) {
		switch {
		case isUnimplemented(err):
			return found, nil
		case err != nil:
			return found, errors.NewErrorf(errors.Unavailable, "passive tap: %w", err)
		case !names[presence.Service]:
		case presence.ClientID != "":
			found.clients = append(found.clients, scannedPeer{presence.Service, presence.ClientID})
		case presence.Carries == bus.CarriesUnicast:
			found.servers = append(found.servers, scannedPeer{presence.Service, presence.Address})
		case len(presence.Topic) > 0 && (presence.Carries == bus.CarriesRequests || presence.Carries == bus.CarriesStreams):
			method := scannedMethod{presence.Service, presence.Method}
			found.topics[method] = append(found.topics[method], presence.Topic)
		}
	}
	return found, nil
}

func isUnimplemented(err error) bool {
	coded, ok := errors.AsType[errors.Error](err)
	return ok && coded.Code() == errors.Unimplemented
}
