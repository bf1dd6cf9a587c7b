package gateway

import (
	"net/http"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

const typeJSON = "application/json"

// protocol is the protocol that an HTTP client uses.
type protocol uint8

const (
	protocolConnect protocol = iota // Connect, gRPC and gRPC-Web
	protocolSSE
	protocolNDJSON
	protocolWebSocket
	protocolPlain // JSON of clients without Connect; see WithPsrpcStatus
)

func (o *options) protocolOf(r *http.Request) protocol {
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return protocolWebSocket
	}
	for accepted := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		switch mediaType(accepted) {
		case "text/event-stream":
			return protocolSSE
		case "application/x-ndjson":
			return protocolNDJSON
		}
	}
	isJSON := strings.EqualFold(mediaType(r.Header.Get("Content-Type")), typeJSON)
	isPlain := r.Method == http.MethodPost && isJSON && r.Header.Get("Connect-Protocol-Version") == ""
	if o.psrpcStatus && isPlain {
		return protocolPlain
	}
	return protocolConnect
}

// mediaType returns the value of a Content-Type or Accept header without its parameters.
func mediaType(value string) string {
	value, _, _ = strings.Cut(value, ";")
	return strings.TrimSpace(value)
}

// isFramed reports whether a request is gRPC, gRPC-Web or a stream of Connect. In these protocols,
// a failed call has the HTTP status 200, and the error is in the trailers or in the last message.
func isFramed(r *http.Request) bool {
	contentType := mediaType(r.Header.Get("Content-Type"))
	return r.Method == http.MethodPost &&
		(strings.HasPrefix(contentType, "application/grpc") || strings.HasPrefix(contentType, "application/connect+"))
}

func (o *options) protocolOfBound(r *http.Request, bound *BoundRequest) protocol {
	switch p := o.protocolOf(r); {
	case p == protocolSSE, p == protocolNDJSON:
		return p
	case bound.Method.Kind() == registry.KindSingle, bound.IsHTTPBody:
		return protocolPlain
	default:
		return protocolNDJSON
	}
}
