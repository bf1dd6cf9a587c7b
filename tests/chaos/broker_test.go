//go:build chaos && unix

package chaos_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// recovery is how long attempts may still fail after a broker or a link is back: the time until the
// buses connect again, and the timeout of what was sent before.
const recovery = 3 * time.Second

// detection is how long a bus with default settings may need to detect a dead link and to replace
// it: four probe intervals on NATS.
const detection = 8 * time.Second

// While the broker is away, calls fail. Nothing runs twice, and nothing runs too late.
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

// While the broker stands still, nothing is sent that would be served late. Frames that are in
// socket buffers by then can arrive late, but servers do not run expired requests.
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

// An operator of Redis closes connections, and suspends commands.
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
