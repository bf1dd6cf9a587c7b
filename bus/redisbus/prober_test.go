package redisbus

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus/internal/driver"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
)

func TestProber(t *testing.T) {
	t.Parallel()
	const ticks = 100
	for name, tt := range map[string]struct {
		// frames is set if a frame arrives before each tick. pongs is set if each PING is answered
		// before the next tick.
		frames, pongs bool
		want          string
		wantTicks     int
	}{
		"idle":                 {false, true, "", ticks},
		"busy":                 {true, true, "", ticks},
		"nothing arrives":      {false, false, "nothing received for 1.25s", maxSilentTicks},
		"nothing sent arrives": {true, false, "no reply to PING for 4s", maxUnansweredTicks + 2},
	} {
		client, server := net.Pipe()
		go io.Copy(io.Discard, server) // this goroutine ends when the pipe is closed
		var pushes pushCounts
		s := &session{
			bus:    &core{options: options{Options: driver.Options{ProbeInterval: time.Second}}},
			pubsub: resp.NewConn(client, client.Close),
		}
		prober := prober{interval: time.Second, pushes: &pushes, replies: &s.sent.replies, ping: s.ping}
		n := 0
		var err error
		for ; err == nil && n < ticks; n++ {
			if tt.frames {
				pushes.all.Add(1)
			}
			if tt.pongs && prober.sent > pushes.pongs.Load() {
				pushes.all.Add(1)
				pushes.pongs.Add(1)
			}
			err = prober.tick()
		}
		if tt.want == "" {
			require.NoError(t, err, name)
			assert.EqualValues(t, ticks/2, prober.sent, name)
		} else {
			require.ErrorContains(t, err, tt.want, name)
		}
		assert.Equal(t, tt.wantTicks, n, name)
		require.NoError(t, client.Close())
	}
}
