package bustest

import (
	"bytes"
	"context"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// FaultBus is a bus that loses, duplicates, reorders and delays frames on their way to another bus,
// and that can cut the link to it. It is meant for tests of programs that must cope with such
// faults. All methods are safe for concurrent use.
//
// Which faults affect the nth frame on a channel depends only on the seed, the name of the channel
// and the [Faults]. If these are the same, every run has the same faults. The number n counts only
// frames that Faults.Match selects. The names of the response channels contain the IDs of clients,
// so give the conns of a test fixed IDs, as package dynamictest does.
//
// A FaultBus stands for the link of one process. If several servers and conns share a FaultBus, a
// cut link separates all of them from each other. If they use different FaultBuses over the same
// bus, each of them has a link of its own.
//
// FaultBus forwards the methods of [bus.Monitored], [bus.Competing], [bus.ReceiverCounter],
// [bus.Inspector], [bus.Informed] and [bus.Logging] to the other bus. A cut link does not affect
// them. The methods of an interface that the other bus does not implement return fixed results.
// Stats then reports only that the bus is connected, ReceiverID returns an empty string,
// CountsReceivers returns true, Logger returns slog.Default(), and Settings returns no settings.
// The methods that would ask the broker return an error with code unimplemented.
type FaultBus struct {
	// Bus is the other bus, on which frames are published. The field must not be modified.
	bus.Bus

	seed uint64
	// ctx ends when the bus is closed. Delayed frames are published with this context.
	ctx context.Context
	end context.CancelFunc
	// isCut reports whether the link is cut. It is modified only with mu held.
	isCut atomic.Bool
	// flushes tracks the running calls to flush.
	flushes sync.WaitGroup

	mu       sync.Mutex
	faults   Faults
	counts   FaultCounts
	channels map[string]*faultChannel
	// restored is closed when the link is no longer cut. It is nil if the link is not cut.
	restored chan struct{}
	// cutTimer restores the link. It is nil if the link is not cut or stays cut until Restore.
	cutTimer *time.Timer
}

var (
	_ bus.Monitored       = (*FaultBus)(nil)
	_ bus.Competing       = (*FaultBus)(nil)
	_ bus.Logging         = (*FaultBus)(nil)
	_ bus.ReceiverCounter = (*FaultBus)(nil)
	_ bus.Inspector       = (*FaultBus)(nil)
	_ bus.Informed        = (*FaultBus)(nil)
)

// NewFaultBus returns a bus that publishes its frames on b, and applies faults to them. seed
// selects which frames are affected.
//
// Closing the FaultBus closes b, too. If b is closed in some other way, the FaultBus need not be
// closed. A FaultBus keeps a few hundred bytes for each channel on which a frame was published.
func NewFaultBus(b bus.Bus, seed uint64, faults Faults) *FaultBus {
	ctx, cancel := context.WithCancel(context.Background())
	return &FaultBus{Bus: b, seed: seed, ctx: ctx, end: cancel, faults: faults, channels: map[string]*faultChannel{}}
}

// SetFaults replaces the faults for the frames that are published from now on. Frames that are
// already delayed are not affected, and a link that is cut stays cut.
func (b *FaultBus) SetFaults(faults Faults) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = faults
}

// Counts returns how many frames each fault has affected so far, and how often the link was cut.
func (b *FaultBus) Counts() FaultCounts {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counts
}

// Cut cuts the link until [FaultBus.Restore] is called. All frames are then lost in both
// directions. As with a real network failure, there are no errors: Publish returns nil, and
// Subscribe waits until the link is restored or its context ends.
func (b *FaultBus) Cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cutLocked(0)
}

// Restore ends a cut of the link. It does nothing if the link is not cut.
func (b *FaultBus) Restore() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.restoreLocked()
}

// cutLocked cuts the link for the given duration. If the duration is zero, it cuts the link until
// Restore is called. The caller must hold mu.
func (b *FaultBus) cutLocked(duration time.Duration) {
	b.counts.Cuts++
	if b.restored == nil {
		b.restored = make(chan struct{})
	}
	b.isCut.Store(true)
	if b.cutTimer != nil {
		b.cutTimer.Stop()
		b.cutTimer = nil
	}
	if duration <= 0 {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(duration, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.cutTimer == timer { // otherwise, another cut has replaced this one
			b.restoreLocked()
		}
	})
	b.cutTimer = timer
}

func (b *FaultBus) restoreLocked() {
	if b.restored == nil {
		return
	}
	close(b.restored)
	b.restored = nil
	b.isCut.Store(false)
	if b.cutTimer != nil {
		b.cutTimer.Stop()
		b.cutTimer = nil
	}
}

// Publish publishes frame on the other bus unless a fault prevents it. If the frame is lost or
// delayed, Publish returns nil immediately. If the other bus later refuses a delayed frame, report
// receives the error.
func (b *FaultBus) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.ctx.Err() != nil {
		return bus.ErrClosed
	}
	f := &faultFrame{channel: channel, frame: frame, report: report}
	if isPending := b.disturb(f); isPending {
		return nil
	}
	return f.publish(ctx, b.Bus)
}

// disturb decides what happens to a frame, and counts the frame and its faults. It returns false if
// the caller must publish the frame now. It returns true if the frame is lost or waits in the queue
// of its channel.
func (b *FaultBus) disturb(f *faultFrame) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts.Published++
	c := b.channelLocked(f.channel.Name)
	var fate fate
	if b.faults.Match == nil || b.faults.Match(f.channel, f.frame) {
		fate = c.plan.next(&b.faults)
		f.number = c.plan.frames
	}
	if fate.cut && !b.isCut.Load() {
		b.logLocked("cut the link at", f)
		b.cutLocked(b.faults.CutDuration)
	}
	if b.isCut.Load() {
		b.counts.CutOff++
		return true
	}
	if fate.lost {
		b.logLocked("lost", f)
		b.counts.Lost++
		return true
	}
	if fate.duplicated {
		b.logLocked("duplicated", f)
		b.counts.Duplicated++
		f.duplicate = bytes.Clone(f.frame)
	}
	if fate.delay > 0 {
		b.counts.Delayed++
	}
	if fate.delay <= 0 && !fate.reordered && c.isIdle() {
		return false
	}
	f.due = time.Now().Add(fate.delay)
	if overtaken := c.add(f, fate.reordered); overtaken != nil {
		b.logLocked("reordered", overtaken)
		b.counts.Reordered++
	}
	c.timer.Reset(time.Until(c.queue[0].due))
	return true
}

func (b *FaultBus) channelLocked(name string) *faultChannel {
	c, ok := b.channels[name]
	if !ok {
		c = &faultChannel{plan: newFaultPlan(b.seed, name)}
		c.timer = time.AfterFunc(time.Hour, func() { b.flush(c) })
		c.timer.Stop()
		b.channels[name] = c
	}
	return c
}

func (b *FaultBus) logLocked(fault string, f *faultFrame) {
	if b.faults.Logf != nil {
		b.faults.Logf("bustest: %s frame %d on channel %s", fault, f.number, f.channel)
	}
}

// flush publishes the delayed frames of a channel that are due. While the link is cut, they are
// lost. Only one goroutine at a time publishes them, so that they stay in order.
func (b *FaultBus) flush(c *faultChannel) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.isFlushing || b.ctx.Err() != nil {
		return
	}
	c.isFlushing = true
	b.flushes.Add(1)
	defer b.flushes.Done()
	for len(c.queue) > 0 && !c.queue[0].due.After(time.Now()) {
		f := c.queue[0]
		c.queue = c.queue[1:]
		if b.isCut.Load() {
			b.counts.CutOff++
			continue
		}
		b.mu.Unlock()
		if err := f.publish(b.ctx, b.Bus); err != nil && f.report != nil {
			f.report.Delivered(bus.Unknown, err)
		}
		b.mu.Lock()
	}
	c.isFlushing = false
	if len(c.queue) > 0 {
		c.timer.Reset(time.Until(c.queue[0].due))
	}
}

// Subscribe subscribes to the channel on the other bus. While the link is cut, Subscribe waits, and
// the frames for existing subscriptions are lost.
func (b *FaultBus) Subscribe(
	ctx context.Context, channel bus.Channel, mode bus.Mode, handler bus.Handler,
) (bus.Subscription, error) {
	if err := b.awaitLink(ctx); err != nil {
		return nil, err
	}
	return b.Bus.Subscribe(ctx, channel, mode, func(frame []byte) {
		if b.isCut.Load() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.counts.CutOff++
			return
		}
		handler(frame)
	})
}

// awaitLink waits until the link is not cut.
func (b *FaultBus) awaitLink(ctx context.Context) error {
	b.mu.Lock()
	restored := b.restored
	b.mu.Unlock()
	if restored == nil {
		return nil
	}
	select {
	case <-restored:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-b.ctx.Done():
		return bus.ErrClosed
	}
}

// Close closes the other bus. Frames that are still delayed are lost.
func (b *FaultBus) Close() error {
	b.end()
	b.mu.Lock()
	for _, c := range b.channels {
		c.timer.Stop()
		c.queue = nil
	}
	if b.cutTimer != nil {
		b.cutTimer.Stop()
	}
	b.mu.Unlock()
	b.flushes.Wait()
	return b.Bus.Close()
}

// CountsReceivers implements [bus.ReceiverCounter].
func (b *FaultBus) CountsReceivers() bool {
	counter, ok := b.Bus.(bus.ReceiverCounter)
	return !ok || counter.CountsReceivers()
}

// Logger implements [bus.Logging]. It returns the logger of the other bus.
func (b *FaultBus) Logger() *slog.Logger { return bus.LoggerOf(b.Bus) }

// ReceiverID implements [bus.Competing].
func (b *FaultBus) ReceiverID() string {
	if competing, ok := b.Bus.(bus.Competing); ok {
		return competing.ReceiverID()
	}
	return ""
}

// Stats returns the statistics of the other bus. For the number of faults, see [FaultBus.Counts].
func (b *FaultBus) Stats() bus.Stats {
	if monitored, ok := b.Bus.(bus.Monitored); ok {
		return monitored.Stats()
	}
	return bus.Stats{Connected: true}
}

// errNotInspected is returned by the methods of [bus.Inspector] and [bus.Informed] if the other bus
// does not implement the interface.
var errNotInspected = errors.NewErrorf(errors.Unimplemented, "the bus behind the fault bus does not tell who listens")

// Count implements [bus.Inspector].
func (b *FaultBus) Count(ctx context.Context, channels ...bus.Channel) ([]int, error) {
	if inspector, ok := b.Bus.(bus.Inspector); ok {
		return inspector.Count(ctx, channels...)
	}
	return nil, errNotInspected
}

// Scan implements [bus.Inspector].
func (b *FaultBus) Scan(ctx context.Context) iter.Seq2[bus.Presence, error] {
	if inspector, ok := b.Bus.(bus.Inspector); ok {
		return inspector.Scan(ctx)
	}
	return func(yield func(bus.Presence, error) bool) { yield(bus.Presence{}, errNotInspected) }
}

// Prefixes implements [bus.Inspector].
func (b *FaultBus) Prefixes(ctx context.Context) ([]string, error) {
	if inspector, ok := b.Bus.(bus.Inspector); ok {
		return inspector.Prefixes(ctx)
	}
	return nil, errNotInspected
}

// Peers implements [bus.Inspector].
func (b *FaultBus) Peers(ctx context.Context) ([]bus.Peer, error) {
	if inspector, ok := b.Bus.(bus.Inspector); ok {
		return inspector.Peers(ctx)
	}
	return nil, errNotInspected
}

// Settings implements [bus.Informed].
func (b *FaultBus) Settings() bus.Settings {
	if informed, ok := b.Bus.(bus.Informed); ok {
		return informed.Settings()
	}
	return bus.Settings{}
}

// RoundTrip implements [bus.Informed].
func (b *FaultBus) RoundTrip(ctx context.Context) (time.Duration, error) {
	if informed, ok := b.Bus.(bus.Informed); ok {
		return informed.RoundTrip(ctx)
	}
	return 0, errNotInspected
}

// Info implements [bus.Informed].
func (b *FaultBus) Info(ctx context.Context) (bus.Info, error) {
	if informed, ok := b.Bus.(bus.Informed); ok {
		return informed.Info(ctx)
	}
	return bus.Info{}, errNotInspected
}
