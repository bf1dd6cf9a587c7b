package flush_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus/natsbus/internal/flush"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const probeInterval = time.Second

// fakeConn is a connection whose server answers each PING after some time. It need not be safe for
// concurrent use, because a round trip uses it on one goroutine.
type fakeConn struct {
	disconnected bool
	// answerAfter is the time after which the server answers a PING. It is negative if the server
	// never answers.
	answerAfter time.Duration
	// receiving and receivedBytes are the numbers of messages and bytes that arrive between each PING
	// and its answer.
	receiving, receivedBytes uint64
	stats                    nats.Statistics
	reconnects               int
}

func (c *fakeConn) Status() nats.Status {
	if c.disconnected {
		return nats.RECONNECTING
	}
	return nats.CONNECTED
}

func (c *fakeConn) Stats() nats.Statistics { return c.stats }

func (c *fakeConn) ForceReconnect() error {
	c.reconnects++
	return nil
}

func (c *fakeConn) FlushWithContext(ctx context.Context) error {
	c.stats.InMsgs += c.receiving
	c.stats.InBytes += c.receivedBytes
	answer := time.After(c.answerAfter)
	if c.answerAfter < 0 {
		answer = nil
	}
	start := time.Now()
	select {
	case <-answer:
		return nil
	case <-ctx.Done():
		c.answerAfter -= time.Since(start) // the answer to the first PING is on its way
		return ctx.Err()
	}
}

// A round trip may take one probe interval while the server is silent, three while it sends
// messages, and five if more than a megabyte is on its way. If it takes longer, nats.go must
// reconnect.
func TestFlusher_RoundTrip_Limits(t *testing.T) {
	t.Parallel()
	const never, megabytes = -1, 2 << 20
	for name, tt := range map[string]struct {
		conn        fakeConn
		unconfirmed uint64
		wantTime    time.Duration
		wantErr     bool
	}{
		"answered":                      {fakeConn{answerAfter: probeInterval / 2}, 0, probeInterval / 2, false},
		"silent":                        {fakeConn{answerAfter: never}, 0, probeInterval, true},
		"silent after many bytes":       {fakeConn{answerAfter: never}, megabytes, 5 * probeInterval, true},
		"receiving":                     {fakeConn{answerAfter: never, receiving: 1}, 0, 3 * probeInterval, true},
		"receiving, answered":           {fakeConn{answerAfter: 5 * probeInterval / 2, receiving: 1}, 0, 5 * probeInterval / 2, false},
		"receiving many bytes":          {fakeConn{answerAfter: never, receiving: 1, receivedBytes: megabytes}, 0, 5 * probeInterval, true},
		"receiving many bytes, at last": {fakeConn{answerAfter: 9 * probeInterval / 2, receiving: 1, receivedBytes: megabytes}, 0, 9 * probeInterval / 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start, conn := time.Now(), tt.conn
				var reasons []error
				err := flush.New(probeInterval).RoundTrip(t.Context(), &conn, tt.unconfirmed, func(err error) { reasons = append(reasons, err) })
				assert.Equal(t, tt.wantTime, time.Since(start))
				if !tt.wantErr {
					require.NoError(t, err)
					assert.Zero(t, conn.reconnects)
					return
				}
				require.ErrorIs(t, err, errors.Unavailable)
				require.ErrorContains(t, err, "did not answer for "+tt.wantTime.String())
				assert.Equal(t, []error{err}, reasons)
				assert.Equal(t, 1, conn.reconnects)
			})
		})
	}
}

func TestFlusher_RoundTrip_WithoutConnection(t *testing.T) {
	t.Parallel()
	f := flush.New(probeInterval)
	require.ErrorIs(t, f.RoundTrip(t.Context(), &fakeConn{disconnected: true}, 0, nil), flush.ErrConnLost)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	err := f.RoundTrip(ended, &fakeConn{answerAfter: -1}, 0, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "no confirmation")
}

// A flush serves the callers that have requested it before it began, and no later ones.
func TestFlusher_Run_SharesFlushes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, closed := flush.New(probeInterval), make(chan struct{})
		results, runs := make(chan error), atomic.Int32{}
		ended := make(chan struct{})
		go func() { // the test waits for ended
			defer close(ended)
			f.Run(closed, func() error {
				runs.Add(1)
				return <-results
			})
		}()
		first, shared := f.Request(), f.Request()
		assert.Same(t, first, shared)
		synctest.Wait()
		second := f.Request()
		assert.NotSame(t, first, second, "the first flush has begun")
		failure := errors.New("failure")
		results <- failure
		<-first.Done()
		assert.Equal(t, failure, first.Err())
		results <- nil
		<-second.Done()
		require.NoError(t, second.Err())
		// A wake-up may be left over, because both requests of the first flush have woken the
		// flusher.
		assert.LessOrEqual(t, runs.Load(), int32(3))
		close(closed)
		close(results)
		<-ended
	})
}

func TestFlusher_Stalled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := flush.New(probeInterval)
		require.NoError(t, f.Stalled(), "no PING has been sent")
		conn, ended := &blockedConn{unblock: make(chan struct{})}, make(chan error)
		go func() { ended <- f.RoundTrip(t.Context(), conn, 0, nil) }() // the test waits for ended
		<-time.After(probeInterval * 3 / 2)
		require.NoError(t, f.Stalled())
		<-time.After(time.Millisecond)
		require.ErrorContains(t, f.Stalled(), "did not answer for 1.5s")
		close(conn.unblock)
		require.NoError(t, <-ended)
		require.NoError(t, f.Stalled())
	})
}

// blockedConn is a connection that is blocked in a write, so that it does not notice that the
// context of a PING has ended.
type blockedConn struct {
	fakeConn

	unblock chan struct{}
}

func (c *blockedConn) FlushWithContext(context.Context) error {
	<-c.unblock
	return nil
}

func TestNever(t *testing.T) {
	t.Parallel()
	select {
	case <-flush.Never().Done():
		assert.Fail(t, "it never ends")
	default:
	}
}
