package main

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// unreliable is a bus that drops or delays some of the frames that are published on it.
type unreliable struct {
	bus.Bus

	loss   float64
	jitter time.Duration

	mu   sync.Mutex
	plan *rand.Rand
}

func newUnreliable(link bus.Bus, s settings) *unreliable {
	return &unreliable{
		Bus: link, loss: s.loss, jitter: s.jitter,
		plan: rand.New(rand.NewPCG(s.seed, s.seed)), //nolint:gosec // a run must be repeatable
	}
}

// CountsReceivers implements bus.ReceiverCounter. The older version of the module, with which the
// program is also built, does not have this interface.
func (u *unreliable) CountsReceivers() bool {
	counter, ok := u.Bus.(interface{ CountsReceivers() bool })
	return !ok || counter.CountsReceivers()
}

// ReceiverID implements bus.Competing, which the older version does not have either. It returns an
// empty ID if the underlying bus does not implement that interface.
func (u *unreliable) ReceiverID() string {
	if competing, ok := u.Bus.(interface{ ReceiverID() string }); ok {
		return competing.ReceiverID()
	}
	return ""
}

// Publish implements bus.Bus.
func (u *unreliable) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	u.mu.Lock()
	lost, delay := u.plan.Float64() < u.loss, time.Duration(u.plan.Float64()*float64(u.jitter))
	u.mu.Unlock()
	if lost {
		return nil
	}
	if delay == 0 {
		return u.Bus.Publish(ctx, channel, frame, report)
	}
	late := append([]byte(nil), frame...)
	time.AfterFunc(delay, func() { _ = u.Bus.Publish(context.Background(), channel, late, report) })
	return nil
}
