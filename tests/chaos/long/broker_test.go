//go:build chaos && unix

package long_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// recovery is how long operations may still fail after a broker or a link works again. During this
// time, buses reconnect, and the timeouts of earlier operations expire.
const recovery = 3 * time.Second

// detection is the maximum time that a bus with default settings needs to detect a dead link and to
// replace it. On NATS, this takes up to four probe intervals.
const detection = 8 * time.Second

// The broker is killed and restarted several times. While it is down, calls may fail, but no
// request may run twice or after its deadline.
func TestBroker_KilledAndRestarted(t *testing.T) {
	onBrokers(t, func(t *testing.T, f *fleet) {
		f.begin()
		for range 4 {
			f.during(recovery, func() {
				f.broker.Kill()
				pause(300 * time.Millisecond)
				f.broker.Start()
			})
		}
		f.end(promises{mayLose: everyUpdate})
	})
}

// The broker process is stopped for a while. Frames that are already in socket buffers arrive late
// when it continues, but servers must not run requests that have expired.
func TestBroker_StandsStill(t *testing.T) {
	onBrokers(t, func(t *testing.T, f *fleet) {
		f.begin()
		for _, d := range []time.Duration{time.Second, longPause} {
			f.during(recovery, func() {
				f.broker.Pause()
				pause(d)
				f.broker.Resume()
			})
		}
		f.end(promises{mayLose: everyUpdate})
	})
}

// An administrator closes connections of Redis clients and pauses the execution of commands. The
// buses must recover.
func TestRedis_ClientsKilled(t *testing.T) {
	server := testenv.Redis(t)
	f := newFleet(t, "redis", server)
	operator := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer operator.Close()
	f.begin()
	for i := range 10 {
		f.during(time.Second, func() {
			kind := []string{"pubsub", "normal"}[i%2]
			require.NoError(t, operator.Do(t.Context(), "CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes").Err())
		})
	}
	for range 3 {
		require.NoError(t, operator.Do(t.Context(), "CLIENT", "PAUSE", "300").Err())
		pause(time.Second)
	}
	f.end(promises{mayLose: everyUpdate})
}
