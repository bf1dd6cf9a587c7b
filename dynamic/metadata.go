package dynamic

import (
	"context"
	"maps"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
)

// RequestInfo is what a handler knows about a request, or a stream, besides its message. Of an update it has the metadata
// only.
type RequestInfo struct {
	// ClientID is the id of the client that sent it.
	ClientID string
	// SentAt is when, by the client's clock; the zero time if the client did not say.
	SentAt time.Time
	// Metadata is what the client attached. It may be nil, and must not be changed.
	Metadata map[string]string
}

func newRequestInfo(clientID string, sentAt int64, metadata map[string]string) RequestInfo {
	in := RequestInfo{ClientID: clientID, Metadata: metadata}
	if sentAt != 0 {
		in.SentAt = time.Unix(0, sentAt)
	}
	return in
}

type outgoingMetadataKey struct{}

// RequestInfoFromContext returns what is known about the request or update that is being handled with ctx, or false if ctx
// is not that of a handler or of a [DeliveryHandler].
func RequestInfoFromContext(ctx context.Context) (RequestInfo, bool) {
	provider, ok := ctx.Value(lazyctx.InfoKey{}).(requestInfoProvider)
	if !ok {
		return RequestInfo{}, false
	}
	return provider.requestInfo(), true
}

// requestInfoProvider is a request, stream or update that is being handled.
type requestInfoProvider interface{ requestInfo() RequestInfo }

// ContextWithMetadata returns a context whose calls, streams and updates carry metadata: that of ctx, and these pairs in
// addition, which win over equal keys. Keys are case-sensitive; keys and values must be UTF-8. What a handler
// received is not passed on to its own calls by itself.
func ContextWithMetadata(ctx context.Context, metadata map[string]string) context.Context {
	merged := maps.Clone(outgoingMetadata(ctx))
	if merged == nil {
		merged = map[string]string{}
	}
	maps.Copy(merged, metadata)
	return context.WithValue(ctx, outgoingMetadataKey{}, merged)
}

// WithMetadata attaches metadata to this call, stream or update, in addition to that of its context, over whose equal
// keys it wins.
func WithMetadata(metadata map[string]string) RequestOption {
	return requestOption(func(o *requestOptions) { o.metadata = metadata })
}

func outgoingMetadata(ctx context.Context) map[string]string {
	metadata, _ := ctx.Value(outgoingMetadataKey{}).(map[string]string)
	return metadata
}
