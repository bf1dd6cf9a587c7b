package childproto_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/childproto"
)

func TestParseReady_ParsesLine(t *testing.T) {
	t.Parallel()
	ready := childproto.Ready{Version: 1, Services: []childproto.Service{{Name: "a.B", WireName: "C", Methods: []string{"D"}}}}
	parsed, isReady, err := childproto.ParseReady(ready.Line())
	require.NoError(t, err)
	assert.True(t, isReady)
	assert.Equal(t, ready, parsed)
}

func TestParseReady_RecognizesReadyLines(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"", "hello", `{"level":"info"}`, ` {"dynpsrpc_ready":1}`} {
		_, isReady, err := childproto.ParseReady([]byte(line))
		assert.False(t, isReady, line)
		require.NoError(t, err)
	}
	_, isReady, err := childproto.ParseReady([]byte(`{"dynpsrpc_ready":2}`))
	assert.True(t, isReady)
	require.EqualError(t, err, "the plugin uses protocol version 2, but the host uses version 1: rebuild the plugin")
	_, isReady, err = childproto.ParseReady([]byte(`{"dynpsrpc_ready":`))
	assert.True(t, isReady)
	require.ErrorContains(t, err, "cannot parse the ready line")
}

func FuzzParseReady(f *testing.F) {
	f.Add([]byte(`{"dynpsrpc_ready":1,"services":[{"name":"a.B","methods":["C"]}]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		ready, isReady, err := childproto.ParseReady(line)
		if !isReady || err != nil {
			require.Empty(t, ready)
			return
		}
		again, isReady, err := childproto.ParseReady(ready.Line())
		require.True(t, isReady)
		require.NoError(t, err)
		require.Equal(t, string(ready.Line()), string(again.Line()))
	})
}
