package flush

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/timer"
)

const (
	// bulkBytes is the number of bytes above which a round trip gets more time. If more bytes have
	// been sent since the last answered PING, it may take BulkFactor probe intervals. The server
	// needs longer to read so many bytes, and the delay must not be mistaken for a dead connection.
	bulkBytes = 1 << 20
	// BulkFactor is the maximum number of probe intervals that a round trip may take if more than a
	// megabyte is on its way. A write to the connection may take as long.
	BulkFactor = 5
	// receivingFactor is the number of probe intervals that a round trip may take while the server
	// sends messages but has not answered the PING.
	receivingFactor = 3
)

// ErrConnLost is the error of a round trip without a connection.
var ErrConnLost = errors.NewErrorf(errors.Unavailable, "nats bus is disconnected: the connection to the server was lost")

// Conn is the part of *nats.Conn that a round trip needs.
type Conn interface {
	Status() nats.Status
	Stats() nats.Statistics
	FlushWithContext(ctx context.Context) error
	ForceReconnect() error
}

// RoundTrip sends PINGs until one is answered. unconfirmed is the number of bytes sent since the
// last answered PING. If the server does not answer in time, RoundTrip calls onSilence with the
// error that it is going to return, and makes nats.go reconnect. It waits longer while messages
// arrive, because the PONG may be queued behind them. The time remains limited, because these
// messages do not prove that the server receives what the bus sends.
//
// Only the time in which this process runs counts; see [timer.WithTimeout]. After a pause of the
// process, the answer to a PING may have arrived without having been read.
//
// The error has code unavailable. It is ErrConnLost if nc is not connected.
func (f *Flusher) RoundTrip(ctx context.Context, nc Conn, unconfirmed uint64, onSilence func(error)) error {
	before := nc.Stats()
	for waited := f.probeInterval; ; waited += f.probeInterval {
		if nc.Status() != nats.CONNECTED {
			return ErrConnLost
		}
		received := nc.Stats().InMsgs
		err := f.ping(ctx, nc)
		now := nc.Stats()
		limit := limitsFor(f.probeInterval, unconfirmed, now.InBytes-before.InBytes)
		silent := now.InMsgs == received
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, context.DeadlineExceeded):
			return errors.NewErrorf(errors.Unavailable, "nats bus is disconnected: no confirmation from the server: %w", err)
		case waited >= limit.receiving, silent && waited >= limit.silent:
			err := silenceError(waited)
			onSilence(err)
			// If this fails, the connection has already been closed.
			_ = nc.ForceReconnect()
			return err
		}
	}
}

// ping sends a PING and waits for the PONG for at most one probe interval.
func (f *Flusher) ping(ctx context.Context, nc Conn) error {
	number := f.beginPing()
	defer f.endPing()
	limited, cancel := timer.WithTimeout(ctx, f.probeInterval)
	defer cancel()
	defer context.AfterFunc(limited, func() {
		if ctx.Err() == nil {
			f.setOverdue(number)
		}
	})()
	return nc.FlushWithContext(limited)
}

// limits are the time limits of a round trip.
type limits struct {
	// silent is the limit while nothing arrives from the server.
	silent time.Duration
	// receiving is the limit while messages arrive from the server, but not yet the PONG.
	receiving time.Duration
}

// limitsFor returns the time limits of a round trip. sent is the number of bytes that may be in
// transit ahead of the PING. received is the number of bytes that may be ahead of the PONG.
func limitsFor(probeInterval time.Duration, sent, received uint64) limits {
	l := limits{silent: probeInterval, receiving: receivingFactor * probeInterval}
	if sent > bulkBytes {
		l.silent = BulkFactor * probeInterval
	}
	if sent > bulkBytes || received > bulkBytes {
		l.receiving = BulkFactor * probeInterval
	}
	return l
}

// silenceError returns the error of a PING that the server has not answered.
func silenceError(waited time.Duration) error {
	return errors.NewErrorf(errors.Unavailable, "nats bus is disconnected: the server did not answer for %v",
		waited.Round(time.Millisecond))
}
