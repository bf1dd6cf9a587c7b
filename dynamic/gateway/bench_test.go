package gateway_test

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
)

// BenchmarkOverhead measures what the gateway adds to a call: the time of a call through it, minus
// the time of the direct call and of a round trip to an HTTP handler that does nothing. All three
// are measured in turn, so that they run under the same conditions. The results are medians.
func BenchmarkOverhead(b *testing.B) {
	f := newFixture(b)
	empty := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write([]byte(`{"name":"tea"}`))
	}))
	b.Cleanup(empty.Close)
	conn, err := dynamic.NewConn(f.bus, f.registry)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, conn.Close()) })
	direct := func() {
		_, err := dynamic.InvokeRaw(b.Context(), conn, "shop.Shop/Get", []byte("\x0a\x03tea"))
		require.NoError(b, err)
	}
	for name, request := range map[string]struct{ contentType, body string }{
		"json": {"application/json", `{"name":"tea"}`}, "proto": {"application/proto", "\x0a\x03tea"},
	} {
		b.Run(name, func(b *testing.B) {
			post := func(url string) func() {
				return func() {
					r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, strings.NewReader(request.body))
					require.NoError(b, err)
					r.Header.Set("Content-Type", request.contentType)
					response, err := f.server.Client().Do(r)
					require.NoError(b, err)
					_, _ = io.Copy(io.Discard, response.Body)
					require.NoError(b, response.Body.Close())
					require.Equal(b, http.StatusOK, response.StatusCode)
				}
			}
			steps := []func(){direct, post(empty.URL), post(f.server.URL + "/shop.Shop/Get")}
			times := make([][]time.Duration, len(steps))
			for b.Loop() {
				for i, step := range steps {
					start := time.Now()
					step()
					times[i] = append(times[i], time.Since(start))
				}
			}
			var medians [3]float64
			for i, all := range times {
				slices.Sort(all)
				medians[i] = float64(all[len(all)/2].Nanoseconds()) / 1000
			}
			b.Logf("p50: direct %.1f µs, HTTP %.1f µs, gateway %.1f µs", medians[0], medians[1], medians[2])
			b.ReportMetric(medians[2]-medians[0]-medians[1], "p50-overhead-µs")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkSubscribers measures how long an update takes to reach all of 5,000 clients of
// server-sent events.
func BenchmarkSubscribers(b *testing.B) {
	const clients = 5000
	f := newFixture(b, gateway.WithMaxStreams(clients, clients))
	arrived := make(chan struct{}, clients)
	for range clients {
		conn := f.dialRaw(b, subscribeRequest)
		reader := bufio.NewReaderSize(conn, 512)
		waitFor := func(text string) bool {
			for {
				line, err := reader.ReadString('\n')
				if err != nil || strings.Contains(line, text) {
					return err == nil
				}
			}
		}
		require.True(b, waitFor(": open"))
		go func() {
			for waitFor("data: ") {
				arrived <- struct{}{}
			}
		}()
	}
	for b.Loop() {
		require.NoError(b, f.shops[0].Publish(b.Context(), "News", f.item("tea is ready")))
		for range clients {
			<-arrived
		}
	}
}
