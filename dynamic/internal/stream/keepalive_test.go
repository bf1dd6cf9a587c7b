package stream

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// Idle streams stay open as long as both sides send pings.
func TestKeepalive_Pings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		local, remote := open(t, nil)
		local.StartKeepalive(time.Second, time.Minute)
		remote.StartKeepalive(time.Minute, time.Second)
		<-time.After(10*time.Second + time.Millisecond)
		require.NoError(t, local.Err())
		require.NoError(t, remote.Err())
		assert.Len(t, local.link.ops(), 10)
		assert.NotContains(t, local.link.ops(), wire.StreamMessage)
	})
}

// A side that sends messages sends no pings.
func TestKeepalive_MessagesInsteadOfPings(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		local, remote := open(t, window(100))
		local.StartKeepalive(time.Second, time.Second)
		remote.StartKeepalive(time.Second, time.Second)
		for range 10 {
			<-time.After(time.Second / 2)
			require.NoError(t, local.send("hi"))
			remote.read(t, 1)
		}
		synctest.Wait()
		assert.NotContains(t, local.link.ops(), wire.StreamPing)
		assert.NotContains(t, remote.link.ops(), wire.StreamPing, "acknowledgements count as well")
	})
}

func TestKeepalive_OtherSideIsGone(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		start func(s *side)
		want  time.Duration
	}{
		"keepalive":          {func(s *side) { s.StartKeepalive(time.Second, 2*time.Second) }, 3 * time.Second},
		"shortest keepalive": {func(s *side) { s.StartKeepalive(time.Second, 1) }, 3 * MinimumKeepalive},
		"idle timeout":       {func(s *side) { s.StartIdleTimeout(time.Minute) }, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSide(t, nil).start(t)
				start := time.Now()
				tt.start(s)
				<-s.Ended()
				assert.Equal(t, tt.want, time.Since(start))
				require.ErrorIs(t, s.Err(), ErrKeepaliveTimeout)
				ops := s.link.ops()
				assert.Equal(t, wire.StreamClose, ops[len(ops)-1], "the other side may still be able to receive")
			})
		})
	}
}

// Keepalives are sent only if both sides have an interval.
func TestKeepalive_Off(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSide(t, nil).start(t)
		s.StartKeepalive(time.Second, 0)
		s.StartKeepalive(0, time.Second)
		s.StartKeepalive(-1, time.Second)
		s.StartIdleTimeout(0)
		<-time.After(time.Hour)
		require.NoError(t, s.Err())
		assert.Empty(t, s.link.ops())
	})
}

// A stream whose other side is gone must end in time even if a busy bus blocks its pings.
func TestKeepalive_BusIsBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSide(t, nil).start(t)
		s.StartKeepalive(time.Second, time.Second)
		free := make(chan struct{})
		s.link.intercept(func(*wire.Stream, bus.DeliveryReport) error {
			<-free
			return nil
		})
		go func() { _ = s.send("blocks") }()
		<-s.Context().Done()
		require.ErrorIs(t, s.Err(), ErrKeepaliveTimeout)
		close(free)
	})
}

func TestKeepalive_AfterClose(t *testing.T) {
	t.Parallel()
	s := newSide(t, nil).start(t)
	require.NoError(t, s.Close(nil))
	<-s.Ended()
	s.StartKeepalive(time.Second, time.Second)
	k := keepalive{stream: s.Stream, interval: 1, timeout: 1}
	k.check() // does nothing, because Run has returned
	assert.Nil(t, k.timer)
}
