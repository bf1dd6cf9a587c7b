package rest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// No request may make the gateway panic, and each response must be JSON.
func FuzzRequest(f *testing.F) {
	f.Add(uint8(0), "/v1/books/a%2Fb", "pages=1&tags=a&sequel.sequel.name=x", "")
	f.Add(uint8(0), "/v1/shelves/1/books/2:3", "%5Ba.b%5D=1&@type=x", "")
	f.Add(uint8(1), "/v1/books/go:lend", "", `{"name": "a", "sequel": {"name": null}}`)
	f.Add(uint8(1), "/v1/talk", "", `{"name": "go"} {"name": "bye"}`)
	f.Add(uint8(2), "/v1/books/go", "tags=a", `{"full_title": "x", "fullTitle": 1}`)
	f.Add(uint8(3), "/v1/books/go/title", "", `"x"`)
	f.Add(uint8(3), "/v1/files/go", "name=x", "\xff")
	f.Add(uint8(4), "/v1/paths//..//", "", "")
	methods := []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete}
	library := newFixture(f)
	f.Fuzz(func(t *testing.T, method uint8, path, query, body string) {
		r := httptest.NewRequestWithContext(t.Context(), methods[int(method)%len(methods)], "/", strings.NewReader(body))
		r.URL = &url.URL{Path: path, RawQuery: query}
		if decoded, err := url.PathUnescape(path); err == nil {
			r.URL.Path, r.URL.RawPath = decoded, path
		}
		r.Header.Set("Connect-Timeout-Ms", "100")
		w := httptest.NewRecorder()
		library.server.Config.Handler.ServeHTTP(w, r)
		if w.Header().Get("Content-Type") == "application/json" {
			assert.True(t, json.Valid(w.Body.Bytes()), w.Body.String())
		}
	})
}
