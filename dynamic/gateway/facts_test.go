package gateway_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
)

// Whether a call succeeds or fails, its response must contain the IDs of the request and the
// server, and the durations.
func TestFacts_OfSingleCalls(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithPsrpcStatus())
	for _, header := range []string{"Accept: */*", "Connect-Protocol-Version: 1", "Accept: text/event-stream", "Accept: application/x-ndjson"} {
		for _, name := range []string{"tea", "fail aborted"} {
			r := f.post(t, "/shop.Shop/Get", `{"name": "`+name+`"}`, header)
			assert.Regexp(t, `^REQ_\w{12}$`, r.header.Get(gateway.RequestIDHeader), header)
			assert.Regexp(t, `^SRV_(one|two)$`, r.header.Get(gateway.ServerHeader), header)
			assert.Regexp(t, `^publish;dur=\d+\.\d{3}, (selection;dur=\d+\.\d{3}, )?response;dur=\d+\.\d{3}$`, r.header.Get("Server-Timing"), header)
		}
	}
	assert.Empty(t, f.post(t, "/shop.Shop/Get", `{`).header.Get(gateway.RequestIDHeader), "nothing was sent on the bus")
	assert.Regexp(t, `^SRV_`, f.post(t, "/shop.Shop/Everyone", `{}`, "Accept: text/event-stream").header.Get(gateway.ServerHeader))
}

// lines collects the JSON objects of a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

// await waits until the log has n lines and returns them. The gateway may write a line after the
// client has received the response.
func (l *lines) await(t *testing.T, n int) (all []map[string]any) {
	t.Helper()
	require.Eventually(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return bytes.Count(l.text.Bytes(), []byte("\n")) == n
	}, patience, time.Millisecond)
	for line := range strings.Lines(l.text.String()) {
		var object map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &object))
		all = append(all, object)
	}
	return all
}

func TestAccessLog(t *testing.T) {
	t.Parallel()
	log := &lines{}
	f := newFixture(t, gateway.WithAccessLog(slog.New(slog.NewJSONHandler(log, nil))))
	for i, tt := range []struct {
		path, body string
		headers    []string
		want       map[string]any
	}{
		{"/shop.Shop/Get?secret=1", `{"name": "tea"}`, nil, map[string]any{
			"path": "/shop.Shop/Get", "http_method": "POST", "protocol": "connect", "status": 200.0, "code": "ok", "bytes": 14.0, "client": "127.0.0.1",
		}},
		{"/shop.Shop/Get", `{"name": "fail aborted"}`, []string{"Accept: application/x-ndjson"}, map[string]any{
			"protocol": "ndjson", "status": 409.0, "code": "aborted",
		}},
		{"/shop.Shop/Get", "\x00\x00\x00\x00\x00", []string{"Content-Type: application/grpc-web"}, map[string]any{
			"protocol": "grpc-web", "status": 200.0, "code": "ok",
		}},
		{"/shop.Shop/Everyone", "\x00\x00\x00\x00\x18" + `{"name": "fail aborted"}`, []string{"Content-Type: application/connect+json"}, map[string]any{
			"protocol": "connect", "status": 200.0, "code": "aborted",
		}},
		{"/shop.Shop/Get", "", []string{"Content-Type: application/grpc-web", "Grpc-Encoding: unknown"}, map[string]any{"status": 200.0, "code": nil}},
		{"/shop.Shop/Get", `{}`, []string{"Content-Type: text/plain"}, map[string]any{"status": 415.0, "code": nil}},
		{"/shop.Shop/InRoom", `{}`, []string{"Psrpc-Topic: %zz"}, map[string]any{"status": 400.0, "code": "invalid_argument"}},
		{"/" + strings.Repeat("x", 500), ``, nil, map[string]any{"path": "/" + strings.Repeat("x", 199), "status": 404.0, "code": nil}},
	} {
		f.post(t, tt.path, tt.body, tt.headers...)
		line := log.await(t, i+1)[i]
		for key, want := range tt.want {
			assert.Equal(t, want, line[key], "%s of %s", key, line)
		}
		assert.NotContains(t, fmt.Sprint(line), "secret")
	}
	assert.Regexp(t, `^REQ_`, log.await(t, 8)[0]["request_id"])
	assert.Regexp(t, `^SRV_`, log.await(t, 8)[0]["server"])

	f.do(t, http.MethodGet, "/healthz", "") // is logged at the level Debug only
	socket := f.dial(t, "/shop.Shop/Get")
	exchange(t, socket, `{"message": {}}`)
	require.NoError(t, socket.Close(websocket.StatusNormalClosure, "")) // the gateway waits for this
	last := log.await(t, 9)[8]
	assert.Equal(t, "websocket", last["protocol"])
	assert.InDelta(t, 101, last["status"], 0)
}
