package gateway

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// logAccess logs a request that has ended; see [WithAccessLog].
func (g *Gateway) logAccess(w *responseWriter, in *incoming, started time.Time) {
	level := slog.LevelInfo
	path := in.request.URL.Path
	if isHealthCheck(path) {
		level = slog.LevelDebug
	}
	status := cmp.Or(w.status, http.StatusOK) // net/http sends 200 if nothing else is written
	attrs := []slog.Attr{
		slog.String("http_method", in.request.Method), slog.String("path", path[:min(len(path), maxLoggedPath)]),
		slog.Int("status", status), slog.Int64("bytes", w.size), slog.Duration("duration", time.Since(started)),
		slog.String("client", hostOf(in.request.RemoteAddr)),
	}
	if in.method != nil {
		attrs = append(attrs, slog.String("protocol", in.protocolName()))
	}
	switch {
	case in.err != nil:
		attrs = append(attrs, slog.String("code", string(coded(in.err).Code())))
	case in.ended:
		attrs = append(attrs, slog.String("code", "ok"))
	}
	if id := in.facts.RequestID; id != "" {
		attrs = append(attrs, slog.String("request_id", id), slog.String("server", in.facts.ServerID))
	}
	// The context of the request may have ended, but the logger may use its values.
	g.options.accessLog.LogAttrs(context.WithoutCancel(in.request.Context()), level, "request", attrs...)
}

// maxLoggedPath is the maximum number of bytes of a path that are logged.
const maxLoggedPath = 200

func isHealthCheck(path string) bool {
	return path == "/healthz" || path == "/readyz" || strings.HasPrefix(path, "/"+healthService+"/")
}
