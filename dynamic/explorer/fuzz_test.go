package explorer

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// No request may cause a panic, and every error must be JSON.
func FuzzAPI(f *testing.F) {
	for _, seed := range []struct {
		method, path, body string
	}{
		{"POST", "/api/who", `{"method": "shop.Shop/Best", "request": {"name": "x"}, "timeout": 0.001, "topic": ["a"], "minAffinity": 1e39}`},
		{"POST", "/api/who", `{"method": "shop.Shop/InRoom", "request": {"extra": {"@type": "x/y"}}, "timeout": 1e-300}`},
		{"POST", "/api/check-filter", `{"filter": "topic[0] == '\u0000' && message.x.y > 1"}`},
		{"POST", "/api/servers/SRV_one/log-level", `{"level": "WARN+3"}`},
		{"POST", "/api/servers/%2F%00/drain", `[]`},
		{"GET", "/api/services/shop.Shop/schema", ""},
		{"GET", "/api/services/..%2F../proto", ""},
		{"GET", "/api/servers/*", ""},
		{"GET", "/api/tap?server=&method=**&filter=%00&rate=-1", ""},
		{"GET", "/assets/lib/../index.html", ""},
		{"GET", "/?token=%ff", ""},
		{"GET", "/rpc/", ""},
	} {
		f.Add(seed.method, seed.path, seed.body)
	}
	fixture := newFixture(f)
	f.Fuzz(func(t *testing.T, method, path, body string) {
		target, err := url.Parse(path)
		if err != nil || !strings.HasPrefix(target.Path, "/") || strings.HasSuffix(target.Path, "/events") {
			return // an event stream does not end
		}
		if target.Path == "/api/tap" {
			_, err := newTapQuestion(target.Query())
			_ = err // it must not panic
			return
		}
		request, err := http.NewRequestWithContext(t.Context(), method, "http://localhost"+path, strings.NewReader(body))
		if err != nil || request.Host != "localhost" {
			return
		}
		request.Header.Set("Authorization", "Bearer "+testToken)
		request.Header.Set("X-Psrpc-Explorer", "1")
		request.Header.Set("Content-Type", "application/json")
		recorder := httptest.NewRecorder()
		fixture.explorer.ServeHTTP(recorder, request)
		if strings.HasPrefix(target.Path, "/api/") && recorder.Code >= 400 {
			var told problem
			require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &told), recorder.Body.String())
			require.NotEmpty(t, told.Code)
		}
	})
}
