package dynamic_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// TestEntries_TooManyAreCounted checks that frames with a million error details or metadata
// entries are dropped and counted.
func TestEntries_TooManyAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{"Echo": identity[text](), "Direct": identity[text]()})
	textClient(t, w.conn, echo) // creating a client makes the conn subscribe to its channels
	p := peer{t, w.bus}
	const field = 1_000_000
	many := func(number protowire.Number) (value []byte) {
		for range field {
			value = protowire.AppendBytes(protowire.AppendTag(value, number, protowire.BytesType), nil)
		}
		return value
	}
	p.sendRaw(responseChannel("CLI_test"), envelope("internal.Response", many(8)))
	assert.EqualValues(t, 1, w.conn.Stats().BadFrames)
	p.sendRaw(requestChannel("Echo"), envelope("internal.Request", many(7)))
	assert.EqualValues(t, 1, w.server.Stats().BadFrames)
	w.requireWorking(t)
}

// TestEntries_TooManyToSend checks that a call fails if it has more metadata than servers accept.
func TestEntries_TooManyToSend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{"Echo": identity[text]()})
	metadata := map[string]string{}
	for i := range 1024 {
		metadata[fmt.Sprint(i)] = "x"
	}
	_, err := w.call(t, echo, "hi", dynamic.WithMetadata(metadata))
	require.NoError(t, err)
	metadata["more"] = "x"
	_, err = w.call(t, echo, "hi", dynamic.WithMetadata(metadata))
	requireCode(t, errors.MalformedRequest, err)
	require.ErrorContains(t, err, "1024 metadata entries")
}
