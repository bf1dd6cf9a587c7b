package conformance_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// side is the role of a peer in a scenario.
type side string

const (
	client     side = "client"
	server     side = "server"
	publisher  side = "publisher"
	subscriber side = "subscriber"
)

// stage is a broker on which scenarios are played, together with an observer of its frames.
type stage struct {
	name     string
	observer *observer
	shared   broker
}

// play is one run of a recorded scenario, in which dynpsrpc acts as one side and the player acts as
// the other. The player is the code that sends the recorded frames of the other side.
type play struct {
	*testing.T
	*stage

	scenario *scenario
	script   script
	ours     side
	broker   broker
	service  string // no other test uses this name
	registry *registry.Registry
	link     link // the player's connection
	watcher  *watcher
	bindings bindings
	client   *clientActor // set if dynpsrpc is the client
	server   *serverActor // set if dynpsrpc is the server

	calls    sync.WaitGroup
	database int // the Redis database of this test's locks

	do  map[string]chan func() // operations of dynpsrpc peers, which run in order for each peer
	mu  sync.Mutex
	saw map[string]any // the outcome, in the form used in the recordings
}

// timeScale is the factor by which most timeouts are longer than the recorded ones.
const timeScale = 10

// perform plays a scenario in which dynpsrpc acts as the side ours.
func perform(t *testing.T, on *stage, s *scenario, ours side, script script) {
	p := &play{
		T: t, stage: on, scenario: s, script: script, ours: ours, service: serviceName(s.Method.Service),
		bindings: bindings{map[string]string{}, map[int64]int64{}, timeScale}, do: map[string]chan func(){}, saw: map[string]any{},
	}
	if script.exactTimes {
		p.bindings.scale = 1
	}
	p.registry = p.parse()
	p.broker, p.database = on.shared.alone()
	p.link = p.broker.link(t)
	p.watcher = on.observer.watch(safe(p.service), "SRV."+p.service, "CLI."+p.service)
	if !script.anyServer {
		for _, id := range s.serverIDs() {
			p.bindings.ids[id] = id
		}
	}
	p.bindings.ids[s.clientID()] = s.clientID()
	actor, end := p.cast()
	end = sync.OnceFunc(end)
	t.Cleanup(end)
	p.playAll(actor)
	p.conclude(end)
}

// playAll plays the recorded frames in order. If several consecutive frames are sent by dynpsrpc,
// playAll lets dynpsrpc send all of them, and then waits for them in any order.
func (p *play) playAll(actor actor) {
	var pending []recorded // frames that dynpsrpc must have sent
	await := func() {
		for _, r := range pending {
			p.expect(r)
		}
		pending = nil
	}
	for _, r := range p.scenario.Frames {
		if slices.Contains(p.script.drop, r.Seq) {
			continue
		}
		f := r.frame(p)
		// dynpsrpc must have sent the earlier frames before its stream is closed.
		if !p.isOurs(r) || f.isStream(streamClose) {
			await()
		}
		act, scripted := p.script.at[r.Seq]
		switch {
		case scripted:
			act(p)
		case p.isOurs(r):
			actor.provoke(r, f)
		}
		if p.isOurs(r) {
			pending = append(pending, r)
		} else {
			p.play(r)
		}
	}
	await()
}

// conclude ends the run. It checks that dynpsrpc has sent no other frames and that the outcome is
// as recorded.
func (p *play) conclude(end func()) {
	if after := p.script.after; after != nil && !p.Failed() {
		after(p)
	}
	if !wait(&p.calls) {
		p.Errorf("calls of ours have not ended")
	}
	end()
	p.settle()
	for _, f := range p.watcher.rest() {
		if p.script.extra != nil && p.script.extra(f) {
			continue
		}
		p.Errorf("more was sent: %v", f)
	}
	p.compareOutcome()
}

// settle returns when all published frames have been observed.
func (p *play) settle() { settle(p.T, p.link, p.watcher, p.service) }

func settle(t *testing.T, l link, w *watcher, service string) {
	t.Helper()
	send(l, address{name: safe(service) + "|END", subject: "CLI." + service + ".END"}, "End", nil)
	_, ok := w.take(func(f frame) bool { return f.typeName() == "End" })
	require.True(t, ok)
}

func (p *play) isOurs(r recorded) bool { return r.From == string(p.ours) }

// cast creates the dynpsrpc peers of the scenario. It also subscribes on behalf of the peers on the
// other side. The returned function ends the dynpsrpc peers.
func (p *play) cast() (actor, func()) {
	switch p.ours {
	case client:
		return newClientActor(p)
	case server:
		return newServerActor(p)
	case publisher:
		return newPublisherActor(p)
	default:
		return newSubscriberActor(p)
	}
}

// actor represents the dynpsrpc peers of a scenario.
type actor interface {
	// provoke makes dynpsrpc send a frame. It does nothing if dynpsrpc sends the frame without
	// being told to.
	provoke(r recorded, f frame)
}

// play sends a recorded frame of the other side, with the current IDs and times.
func (p *play) play(r recorded) {
	f := r.frame(p)
	a := p.scenario.addressOf(p.service, r, f)
	inner := p.bindings.mine(f.typeName(), f.inner)
	envelope := slices.DeleteFunc(slices.Clone(f.envelope), func(f field) bool { return f.number == envelopeKey }).
		with(envelopeValue, func(f *field) { f.bytes = inner.encode() }).withText(envelopeKey, p.link.key(a))
	payload := envelope.encode()
	p.watcher.sends(payload)
	p.link.publish(a, payload)
	if p.name == "redis" && (p.ours == server || p.ours == subscriber) {
		p.checkLocks(r, payload)
	}
}

// expect waits until dynpsrpc has sent a frame that matches a recorded frame.
func (p *play) expect(r recorded) {
	want := r.frame(p)
	if change := p.script.want[r.Seq]; change != nil {
		want.inner = change(want.inner)
	}
	a := p.scenario.addressOf(p.service, r, want)
	channel := a.name
	if p.name == "nats" {
		channel = a.subject
	}
	seen, ok := p.watcher.take(func(got frame) bool {
		if got.channel != channel || got.typeURL != want.typeURL || got.key != p.link.key(a) {
			return false
		}
		for _, f := range got.envelope.public() {
			if f.number > envelopeKey {
				return false
			}
		}
		trial := p.bindings.clone()
		if !trial.match(want.typeName(), want.inner, got.inner) {
			return false
		}
		p.bindings = trial
		return true
	})
	if !ok {
		p.Fatalf("frame %d was not sent:\n%v\nits public fields: %v\nids: %v\nseen: %v",
			r.Seq, want, want.inner.public(), p.bindings.ids, p.watcher.rest())
	}
	if want.typeName() == typeRequest {
		mayBeSkipped := p.scenario.Method.Queue && p.scenario.Method.RequireClaim
		assert.Equal(p, mayBeSkipped, seen.inner.has(requestSkipClaim), "skip_claim of frame %d", r.Seq)
	}
	if p.name == "redis" && p.ours == publisher {
		p.checkLocks(r, seen.payload)
	}
}

// checkLocks requires that each subscriber to a queue tries to lock the frame exactly once.
func (p *play) checkLocks(r recorded, payload []byte) {
	key, want := lockKey(string(unhex(p, r.Payload))), 0
	for _, lock := range p.scenario.RedisLocks {
		if lock.Command[1] == key {
			want++
		}
	}
	want /= p.equals(r) // identical frames have the same key
	locks := func() [][]string { return p.observer.locksOf(p.database, payload) }
	assert.Eventually(p, func() bool { return len(locks()) >= want }, patience, time.Millisecond,
		"frame %d was not locked by all of %d readers", r.Seq, want)
	assert.LessOrEqual(p, len(locks()), want*p.equals(r), "locks of frame %d", r.Seq)
	for _, command := range locks() {
		options := strings.ToLower(strings.Join(command[3:], " "))
		// psrpc locks live for 5 seconds. Those of dynpsrpc may live longer, because no peer reads
		// their time to live.
		assert.Regexp(p, `^(ex ([5-9]|[1-9][0-9]+) nx|nx ex 5)$`, options)
		assert.Regexp(p, `^[0-9]+$`, command[2])
	}
}

// equals returns how many recorded frames are identical to r, including r itself.
func (p *play) equals(r recorded) (n int) {
	for _, other := range p.scenario.Frames {
		if other.Payload == r.Payload {
			n++
		}
	}
	return n
}

// inOrder runs act in the background, after all earlier operations of the same peer.
func (p *play) inOrder(peer string, act func()) {
	if p.do[peer] == nil {
		acts := make(chan func(), 100)
		p.do[peer] = acts
		var running sync.WaitGroup
		running.Go(func() { // the cleanup function waits for this goroutine
			for act := range acts {
				act()
				p.calls.Done()
			}
		})
		p.Cleanup(func() {
			close(acts)
			running.Wait()
		})
	}
	p.calls.Add(1)
	p.do[peer] <- act
}

// bus returns a bus for a dynpsrpc peer.
func (p *play) bus() bus.Bus { return p.broker.bus(p.T) }

// wait waits until all calls have ended. It returns false if they do not end in time.
func wait(calls *sync.WaitGroup) bool {
	ended := make(chan struct{})
	go func() { // this goroutine ends when all calls have ended
		calls.Wait()
		close(ended)
	}()
	_, ok := soon(ended)
	return ok
}

// soon waits for a value on a channel. It returns false if no value arrives in time.
func soon[T any](signal <-chan T) (value T, ok bool) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case value = <-signal:
		return value, true
	case <-timer.C:
		return value, false
	}
}
