package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
)

// testNobodyListening checks that calls and new streams fail if no server serves the method. If the
// bus reports that a channel has no subscribers, they must fail immediately and with the code
// Unavailable. On other buses, the code may also be DeadlineExceeded. Publishing an update without
// subscribers must succeed.
func testNobodyListening(t *testing.T, network Network) {
	w := newWorld(t, network)
	handlers := dynamic.Handlers{}
	forEachMethod(callKinds, func(_, method string, _ []string) { handlers[method] = shapes[0].unary() })
	w.serveTopics(w.serve(w.server(), calls, handlers), callKinds)
	conn := w.defaultConn()
	check := func(t testing.TB, started time.Time, err error) {
		t.Helper()
		taken := time.Since(started)
		t.Logf("known after %v", taken)
		// Without the bus's report, the call fails at one of its timeouts. Which one, and thus the
		// code of the error, depends on the kind of the method.
		if !network.NoticesSilence {
			coded, _ := errors.AsType[errors.Error](err)
			require.NotNil(t, coded, "%v", err)
			assert.Contains(t, []errors.ErrorCode{errors.Unavailable, errors.DeadlineExceeded}, coded.Code())
			return
		}
		requireCode(t, errors.Unavailable, err)
		facts, ok := errors.FactsOf(err)
		require.True(t, ok, "%v", err)
		assert.Equal(t, errors.ReasonNobodyListening, facts.Reason)
		// An in-process call fails within microseconds, but a busy machine may need longer.
		assert.Less(t, taken, time.Second)
	}
	for _, kind := range callKinds {
		t.Run(kind, func(t *testing.T) {
			call := newGeneratedCall(t, conn, kind+"Topic", "nowhere")
			if kind == kindMulti && !network.NoticesSilence {
				t.Skip("a call to all of nobody ends without an error")
			}
			started := time.Now()
			_, err := call(t.Context(), sample("Ada"))
			check(t, started, err)
		})
	}
	for _, kind := range streamKinds {
		t.Run("stream/"+kind, func(t *testing.T) {
			client := newClient[*api.MyClientMessage, *api.MyServerMessage](t, conn, fullName(streams, kind), nil)
			started := time.Now()
			_, err := client.OpenStream(t.Context())
			check(t, started, err)
		})
	}
	t.Run("Publish", func(t *testing.T) {
		require.NoError(t, dynamic.Publish(t.Context(), conn, fullName(feeds, kindMulti), nil), "an update without subscribers is no error")
	})
}
