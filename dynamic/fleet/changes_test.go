package fleet

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestChanges_Arrive(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	defer func() { _ = b.Close() }()
	server := simulate(t, b, "SRV_one")
	f := newFleet(t, b)
	changes, err := f.Changes(t.Context())
	require.NoError(t, err)
	sent := &Change{
		ServerID: "SRV_one", At: time.Unix(0, 1), Kind: ChangeReplaced, Service: "my.Service", Digest: Digest{1},
	}
	server.publishChange(t, sent)
	assert.Equal(t, sent, <-changes.Channel())

	server.publishChange(t, sent)
	require.NoError(t, changes.Close(), "a change that nobody reads must not hold up Close")
	_, open := <-changes.Channel()
	assert.False(t, open)
	assert.NoError(t, changes.Err())
	assert.Zero(t, changes.Dropped())
}

// A ChangeStream must end even if its changes are not read.
func TestChanges_End(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(cancel context.CancelFunc, f *Fleet){
		"context": func(cancel context.CancelFunc, _ *Fleet) { cancel() },
		"conn":    func(_ context.CancelFunc, f *Fleet) { _ = f.Conn().Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := bus.NewLocal()
			defer func() { _ = b.Close() }()
			server := simulate(t, b, "SRV_one")
			f := newFleet(t, b)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			changes, err := f.Changes(ctx)
			require.NoError(t, err)
			server.publishChange(t, &Change{ServerID: "SRV_one"})
			end(cancel, f)
			<-changes.ended
			assert.Error(t, changes.Err())
		})
	}
	b := bus.NewLocal()
	defer func() { _ = b.Close() }()
	f := newFleet(t, b)
	require.NoError(t, f.Conn().Close())
	_, err := f.Changes(t.Context())
	assert.ErrorIs(t, err, errors.ErrClientClosed)
}
