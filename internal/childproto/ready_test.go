package childproto_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/childproto"
)

func TestParseReady_ReadsWhatLineWrites(t *testing.T) {
	t.Parallel()
	ready := childproto.Ready{Version: 1, Services: []childproto.Service{{Name: "a.B", WireName: "C", Methods: []string{"D"}}}}
	parsed, meant, err := childproto.ParseReady(ready.Line())
	require.NoError(t, err)
	assert.True(t, meant)
	assert.Equal(t, ready, parsed)
}

func TestParseReady_TellsOtherLines(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"", "hello", `{"level":"info"}`, ` {"dynpsrpc_ready":1}`} {
		_, meant, err := childproto.ParseReady([]byte(line))
		assert.False(t, meant, line)
		require.NoError(t, err)
	}
	_, meant, err := childproto.ParseReady([]byte(`{"dynpsrpc_ready":2}`))
	assert.True(t, meant)
	require.EqualError(t, err, "it speaks version 2 with its host, which speaks version 1: build it anew")
	_, meant, err = childproto.ParseReady([]byte(`{"dynpsrpc_ready":`))
	assert.True(t, meant)
	require.ErrorContains(t, err, "its ready line cannot be read")
}

func FuzzParseReady(f *testing.F) {
	f.Add([]byte(`{"dynpsrpc_ready":1,"services":[{"name":"a.B","methods":["C"]}]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		ready, meant, err := childproto.ParseReady(line)
		if !meant || err != nil {
			require.Empty(t, ready)
			return
		}
		again, meant, err := childproto.ParseReady(ready.Line())
		require.True(t, meant)
		require.NoError(t, err)
		require.Equal(t, string(ready.Line()), string(again.Line()))
	})
}
