package rest_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkCall compares a call by a path of google.api.http with the same call by the path
// "/pkg.Service/Method".
func BenchmarkCall(b *testing.B) {
	f := newFixture(b)
	for name, target := range map[string]string{
		"method": "/library.Library/Look?connect=v1&encoding=json&message=%7B%22name%22%3A%22go%22%2C%22pages%22%3A%22300%22%7D",
		"path":   "/v1/books/go?pages=300",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			request := httptest.NewRequestWithContext(b.Context(), http.MethodGet, target, http.NoBody)
			for b.Loop() {
				w := httptest.NewRecorder()
				f.server.Config.Handler.ServeHTTP(w, request)
				require.Equal(b, http.StatusOK, w.Code)
			}
		})
	}
}
