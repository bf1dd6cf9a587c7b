package redisbus_test

import (
	"math"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// The lock on a frame must live until the frame has expired, because a suspended process could
// still handle the frame until then. If identical frames may follow, the lock must live for a
// shorter time, because these frames need the same lock.
func TestBus_LifeOfLock(t *testing.T) {
	t.Parallel()
	body := wire.Body{Message: wrapperspb.String("hello")}
	request := func(timeout time.Duration) []byte {
		sentAt := time.Now().Add(-time.Hour).UnixNano() // the clock of the client may be wrong
		frame, err := (&wire.Request{
			RequestID: []byte(timeout.String()), SentAt: sentAt, Expiry: sentAt + timeout.Nanoseconds(), Body: body,
		}).AppendFrame(nil)
		require.NoError(t, err)
		return frame
	}
	update := func(nonce uint64) []byte {
		frame, err := wire.AppendMessageFrame(nil, body, "google.protobuf.StringValue", nonce)
		require.NoError(t, err)
		return frame
	}
	server := testenv.Redis(t)
	b := connect(t, server)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	channel := bus.Channel{Name: "queue"}
	got := listen(t, b, channel, bus.Queue)
	for name, tt := range map[string]struct {
		frame []byte
		want  time.Duration
	}{
		"short request":         {request(100 * time.Millisecond), 5 * time.Second},
		"request":               {request(15 * time.Second), 20 * time.Second},
		"long request":          {request(time.Hour), 10 * time.Minute},
		"endless request":       {request(math.MaxInt64 / 2), 10 * time.Minute},
		"request, times absent": {request(0), time.Minute},
		"update with nonce":     {update(42), time.Minute},
		"update without nonce":  {update(0), 5 * time.Second},
		"not an envelope":       {[]byte("hello"), 5 * time.Second},
	} {
		published := time.Now()
		requireArrives(t, b, channel, got, string(tt.frame))
		life, err := client.PTTL(t.Context(), lockKey(string(tt.frame))).Result()
		require.NoError(t, err)
		assert.LessOrEqual(t, life, tt.want, name)
		assert.Greater(t, life, tt.want-2*time.Second-time.Since(published), name)
	}
}
