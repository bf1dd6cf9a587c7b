package recording

import (
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// A writer must not write a recording that is too large to be loaded.
func TestWriter_IsBounded(t *testing.T) {
	w, err := NewWriter(io.Discard, Header{Bus: "redis"})
	require.NoError(t, err)
	w.size = maxRecording - 2*recordCost
	require.NoError(t, w.Add(&Event{RequestID: "a"}))
	require.ErrorIs(t, w.Add(&Event{RequestID: "b"}), errors.ResourceExhausted)
	assert.EqualValues(t, 1, w.Events())
	assert.NoError(t, w.Close())
}
