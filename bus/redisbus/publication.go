package redisbus

import (
	"context"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// publication is a frame on its way out.
type publication struct {
	channel string
	frame   []byte
	report  bus.Report
}

// publishSlot is a PUBLISH or SPUBLISH.
type publishSlot struct {
	*redis.IntCmd

	bus     *Bus
	item    publication
	payload string
}

func (b *Bus) newPublishSlot() slot[publication] {
	verb := "publish"
	if b.options.sharded {
		verb = "spublish"
	}
	s := &publishSlot{bus: b}
	s.IntCmd = redis.NewIntCmd(context.Background(), verb, &s.item.channel, &s.payload) // read when it is sent
	return s
}

// NoRetry keeps go-redis from publishing a frame twice.
func (s *publishSlot) NoRetry() bool { return true }

func (s *publishSlot) set(item publication) int {
	s.item = item
	//nolint:gosec // nobody may change a published frame
	s.payload = unsafe.String(unsafe.SliceData(item.frame), len(item.frame))
	s.SetErr(nil)
	s.SetVal(0)
	return len(item.frame)
}

func (s *publishSlot) settle(err error) {
	item := s.item
	s.item, s.payload = publication{}, "" // an idle slot holds no frame
	if err != nil {
		s.bus.unpublished.Add(1)
		if movedTo(err) {
			s.bus.workers.Go(func() { s.bus.topology.moved(s.bus.ctx) }) // Close waits for it
		}
	} else {
		s.bus.published.Add(1)
	}
	if item.report == nil {
		return
	}
	switch {
	case err != nil:
		item.report.Published(bus.Unknown, channelError("publishing on", item.channel, err))
	case s.bus.topology.counts():
		item.report.Published(int(s.Val()), nil)
	default:
		item.report.Published(bus.Unknown, nil)
	}
}

func channelError(doing, channel string, err error) error {
	code := errors.Unavailable
	if redis.IsPermissionError(err) {
		code = errors.PermissionDenied
	}
	return errors.NewErrorf(code, "redis bus: %s channel %s: %w", doing, channel, err)
}
