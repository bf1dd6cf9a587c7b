package wire_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

func TestInspectQueueFrame(t *testing.T) {
	t.Parallel()
	const now = 1795327837541007727
	request := func(sentAt, expiry int64) []byte {
		frame, err := (&wire.Request{
			RequestID: []byte("REQ_1"), SentAt: sentAt, Expiry: expiry, Body: wire.Body{Message: wrapperspb.String("hello")},
		}).AppendFrame(nil)
		require.NoError(t, err)
		return frame
	}
	update := func(nonce uint64) []byte {
		frame, err := wire.AppendMessageFrame(nil, wire.Body{Message: wrapperspb.String("hello")}, "google.protobuf.StringValue", nonce)
		require.NoError(t, err)
		return frame
	}
	const requestURL = "type.googleapis.com/internal.Request"
	timeout := func(timeout time.Duration) wire.QueueFrame { return wire.QueueFrame{Unique: true, Timeout: timeout} }
	unique := wire.QueueFrame{Unique: true}
	for name, tt := range map[string]struct {
		frame []byte
		want  wire.QueueFrame
	}{
		"request":                          {request(now, now+3e9), timeout(3 * time.Second)},
		"request that never expires":       {request(1, math.MaxInt64), timeout(math.MaxInt64 - 1)},
		"request without time of sending":  {request(0, now), unique},
		"request without expiry":           {request(now, 0), unique},
		"request that expired long before": {request(now, now-1), unique},
		"request with negative times":      {request(math.MinInt64, math.MaxInt64), unique},
		"malformed request":                {fields{}.bytes(1, requestURL).bytes(2, "\x0f"), unique},
		"compressed request":               {fields{}.bytes(1, requestURL).bytes(2, "\x1f\x8b").varint(4, 1), unique},
		"request with an unknown codec":    {fields{}.bytes(1, requestURL).bytes(2, "x").varint(4, 2), unique},
		"update with nonce":                {update(42), unique},
		"update without nonce":             {update(0), wire.QueueFrame{}},
		"not an envelope":                  {[]byte("hello"), wire.QueueFrame{}},
		"empty":                            {nil, wire.QueueFrame{}},
	} {
		assert.Equal(t, tt.want, wire.InspectQueueFrame(tt.frame), name)
	}
}

func TestAlloc_InspectQueueFrame(t *testing.T) {
	frame, err := allocMessages()[wire.KindRequest].AppendFrame(nil)
	require.NoError(t, err)
	assert.Zero(t, allocs(func() { wire.InspectQueueFrame(frame) }))
}
