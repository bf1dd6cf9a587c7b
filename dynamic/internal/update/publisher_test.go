package update

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

func TestPublisher_Channel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		method string
		topic  []string
		queue  bool
	}{
		{"Queue", nil, true}, {"All", nil, false}, {"Local", []string{"berlin"}, true},
	} {
		b := &testBus{}
		p := newPublisher(t, b, newMethod(t, tt.method))
		require.NoError(t, p.Publish(t.Context(), tt.topic, []byte("frame")))
		assert.Equal(t, bus.Channel(wire.RequestChannel("News", tt.method, tt.topic, tt.queue)), b.channel)
		assert.Equal(t, []byte("frame"), b.frame)
	}
}

func TestPublisher_Encode(t *testing.T) {
	t.Parallel()
	p := newPublisher(t, &testBus{}, newMethod(t, "Queue"))
	frame, err := p.Encode(wrapperspb.String("sunny"), map[string]string{"key": "value"})
	require.NoError(t, err)
	envelope, err := wire.ParseEnvelope(frame)
	require.NoError(t, err)
	assert.Equal(t, "google.protobuf.StringValue", string(envelope.TypeName))
	assert.Equal(t, map[string]string{"key": "value"}, envelope.Metadata)
	var decoded wrapperspb.StringValue
	require.NoError(t, proto.Unmarshal(envelope.Value, &decoded))
	assert.Equal(t, "sunny", decoded.GetValue())
}

// Frames of identical updates differ if only one subscriber receives each update, and are the same
// if all subscribers do.
func TestPublisher_Nonce(t *testing.T) {
	t.Parallel()
	for name, differ := range map[string]bool{"Queue": true, "Local": true, "All": false} {
		p := newPublisher(t, &testBus{}, newMethod(t, name))
		first, err := p.Encode(wrapperspb.String("again"), nil)
		require.NoError(t, err)
		second, err := p.Encode(wrapperspb.String("again"), nil)
		require.NoError(t, err)
		assert.Equal(t, differ, string(first) != string(second), name)
	}
}

func TestPublisher_CannotEncode(t *testing.T) {
	t.Parallel()
	p := newPublisher(t, &testBus{}, newMethod(t, "Queue"))
	for _, tt := range []struct {
		content  string
		metadata map[string]string
	}{{"\xff", nil}, {"text", map[string]string{"key": "\xff"}}} {
		_, err := p.Encode(wrapperspb.String(tt.content), tt.metadata)
		requireCode(t, errors.InvalidArgument, err)
		assert.ErrorContains(t, err, "cannot encode update of test.News/Queue")
	}
}

func TestPublisher_BusFails(t *testing.T) {
	t.Parallel()
	p := newPublisher(t, &testBus{publishErr: bus.ErrClosed}, newMethod(t, "Local"))
	err := p.Publish(t.Context(), []string{"berlin"}, nil)
	require.ErrorIs(t, err, bus.ErrClosed)
	facts, ok := errors.FactsOf(err)
	require.True(t, ok)
	assert.Equal(t, errors.CallFacts{
		Method: "test.News/Local", Topic: []string{"berlin"}, Phase: errors.PhasePublish, Reason: errors.ReasonBusDown,
	}, facts)
}
