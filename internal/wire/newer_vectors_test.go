package wire_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// The frames in newer_vectors.json were recorded between peers of psrpc v0.8.2. In the scenarios
// whose name contains "skip", the server does not wait for a grant. In those whose name contains
// "compressed", both peers compress their frames.
func TestNewerVectors_Decode(t *testing.T) {
	t.Parallel()
	var scenarios []scenario
	loadJSON(t, "testdata/newer_vectors.json", &scenarios)
	kinds := map[string]int{}
	for _, s := range scenarios {
		for _, v := range s.Frames {
			t.Run(fmt.Sprintf("%s/%d", s.Name, v.Seq), func(t *testing.T) { checkNewerVector(t, s, v, kinds) })
		}
	}
	assert.Equal(t, map[string]int{
		"request": 7, "claim": 4, "announcement": 2, "grant": 4, "response": 7, "compressed": 6, "same bytes": 18,
	}, kinds)
}

func checkNewerVector(t *testing.T, s scenario, v vector, kinds map[string]int) {
	t.Helper()
	frame := v.frame(t)
	env, err := wire.ParseEnvelope(frame)
	require.NoError(t, err)
	value, err := wire.Decompress(env.Value, 1<<20)
	require.NoError(t, err)
	m, err := parse(env.Kind, value)
	require.NoError(t, err)
	text := "world"
	if strings.Contains(s.Name, "compressed") {
		text = strings.Repeat("world ", 30)
	}
	switch m := m.(type) {
	case *wire.Request:
		kinds["request"]++
		assert.Equal(t, s.Method.Queue, m.SkipClaim)
		assert.Equal(t, text, describeBody(m.Body.Raw)["as_StringValue"])
	case *wire.ClaimRequest:
		assert.Equal(t, strings.Contains(s.Name, "skip"), m.Handling)
		if m.Handling {
			kinds["announcement"]++
		} else {
			kinds["claim"]++
		}
	case *wire.ClaimResponse:
		kinds["grant"]++
	case *wire.Response:
		kinds["response"]++
		assert.Equal(t, "hello "+text, describeBody(m.Body.Raw)["as_StringValue"])
	}
	if len(value) != len(env.Value) {
		kinds["compressed"]++ // this module does not compress
		return
	}
	kinds["same bytes"]++
	assert.Equal(t, hex.EncodeToString(frame), hex.EncodeToString(reencode(t, frame)))
}
