package main

import (
	"fmt"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

const queue4 = "queue4"

// updateRows returns the benchmarks that measure updates. The subscribers have default options.
func updateRows(bus string) []*row {
	kinds := []struct {
		name, method        string
		subscribers, copies int
		limit               string
	}{
		{"multi1", news, 1, 1, "1sub"},
		{"multi10", news, 10, 10, "10sub"},
		{queue4, jobs, 4, 1, queue4},
	}
	var rows []*row
	for _, kind := range kinds {
		var limits []string
		switch {
		// There is no raw transport to compare with, because Redis has no queue groups.
		case bus == onRedis && kind.limit == queue4:
		case bus != onLocal:
			limits = []string{fmt.Sprintf("%s-pub-%s/max", bus, kind.limit)}
		}
		if bus == onNATS && kind.limit != queue4 {
			limits = append(limits, fmt.Sprintf("nats-pub-%s-frames/max", kind.limit))
		}
		for _, pace := range []struct {
			name   string
			window int
		}{{"max", 0}, {"win64", 64}} {
			rows = append(rows, &row{
				name: fmt.Sprintf("pub/%s/%s", kind.name, pace.name), limits: limits,
				open: func(s *scene) load {
					f := newFeed(kind.copies, pace.window)
					return s.updates(f, kind.method, kind.subscribers)
				},
				rival: func(s *scene) load {
					f := newFeed(kind.copies, pace.window)
					return s.psrpcUpdates(f, kind.method, kind.subscribers)
				},
			})
		}
	}
	return rows
}

// updates returns a [load] that publishes updates to the given number of subscribers. The publisher
// and each subscriber use separate connections.
func (s *scene) updates(f *feed, method string, subscribers int) load {
	ctx, body := s.Context(), s.body(0)
	update := wrapperspb.String(body)
	for range subscribers {
		subscription, err := s.clientOf(s.conn(), feeds+method).Subscribe(ctx)
		s.check(err)
		subscriber := f.subscriber()
		s.reader(func() {
			for update := range subscription.Channel() {
				subscriber.got(update.GetValue() == body)
			}
		}, func() { _ = subscription.Close() })
	}
	registration := s.register(feeds, nil)
	f.publish = func() error { return registration.Publish(ctx, method, update) }
	return f.run
}
