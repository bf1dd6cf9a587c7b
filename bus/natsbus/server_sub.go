package natsbus

import (
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// queueGroup is the NATS queue group used for all queued methods. psrpc uses the same name, so
// requests are distributed among psrpc and dynpsrpc servers.
const queueGroup = "bus"

// serverSub is the state of one NATS subscription. It is shared by all subscriptions of the bus
// that need it. subscriptions.changeMu guards all fields except key, which does not change, and
// closeReconnects, which is atomic.
type serverSub struct {
	key subKey
	// sub is the subscription on nc.
	sub *nats.Subscription
	nc  *nats.Conn
	// refs counts the subscriptions of the bus that share sub and are not closing. When it reaches
	// zero, sub is drained.
	refs int
	// confirmed reports whether a flush has proved that the server has the subscription.
	confirmed bool
	// refusals is the number of subscriptions that the server had refused before the bus created
	// sub.
	refusals uint64
	// denied is the server's permission error. It is valid only while deniedEpoch is the current
	// epoch of the connection.
	denied      error
	deniedEpoch uint64
	// dropped is the last value read from nats.go's counter of dropped messages.
	dropped int
	// drainReconnects and closeReconnects record how often the connection had reconnected when the
	// drain of sub started, and when nats.go forgot sub. If closeReconnects is higher, nats.go
	// reconnected in between. It may then have sent the SUB again, so the server may still have the
	// subscription. See resync.go.
	drainReconnects uint64
	closeReconnects atomic.Uint64
}

// subscribe sets s.sub to a new subscription of nc. Its messages are sent on inbound.
func (s *serverSub) subscribe(nc *nats.Conn, inbound chan *nats.Msg) error {
	queue := ""
	if s.key.queue {
		queue = queueGroup
	}
	sub, err := nc.ChanQueueSubscribe(s.key.subject, queue, inbound)
	if err != nil {
		return err
	}
	s.sub, s.nc, s.dropped = sub, nc, 0
	// The handler stores how often the connection had reconnected when nats.go forgot the
	// subscription; see resync.go. nats.go calls it while holding its mutex, so calling nc.Stats
	// would deadlock.
	s.sub.SetClosedHandler(func(string) { s.closeReconnects.Store(nc.Reconnects) })
	return nil
}

// takeDropped returns the number of messages that nats.go has dropped since the last call because
// too many were waiting for delivery.
func (s *serverSub) takeDropped() uint64 {
	dropped, err := s.sub.Dropped()
	if err != nil || dropped == s.dropped {
		return 0
	}
	taken := uint64(dropped - s.dropped) //nolint:gosec // nats.go's counter only grows
	s.dropped = dropped
	return taken
}

// subPair contains the NATS subscriptions that one subscription of the bus needs.
type subPair struct {
	// shared is the NATS subscription to the subject of the channel. All subscriptions of the bus
	// with the same subKey share it.
	shared *serverSub
	// private is the NATS subscription to the private subject of a queue. All subscriptions of the
	// bus with the same subKey and routing key share it. It is nil if no private subject is needed.
	private *serverSub
}

// all returns both subscriptions, or only the shared one if there is no private one.
func (p subPair) all() []*serverSub {
	if p.private == nil {
		return []*serverSub{p.shared}
	}
	return []*serverSub{p.private, p.shared}
}
