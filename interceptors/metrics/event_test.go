package metrics_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit/kinds"
)

// TestMetrics_RequestEvents checks that requests and claims are measured only with the option.
func TestMetrics_RequestEvents(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		opts []metrics.Option
		want map[string]int
	}{
		{nil, map[string]int{}},
		{[]metrics.Option{metrics.WithRequestEvents()}, map[string]int{
			"dynpsrpc.server.requests kinds.All/One received":      2,
			"dynpsrpc.server.claim.duration kinds.All/One skipped": 2,
			"dynpsrpc.client.claim.duration kinds.All/One skipped": 2,
		}},
	} {
		w, r := newService(t, tt.opts...)
		for range 2 {
			_, err := w.Call(t.Context(), kinds.One, "hi")
			require.NoError(t, err)
		}
		got := r.counts()
		maps.DeleteFunc(got, func(key string, _ int) bool {
			return !strings.Contains(key, "claim") && !strings.Contains(key, "requests")
		})
		assert.Equal(t, tt.want, got)
		assert.Empty(t, r.wrong)
	}
}
