package dynamic

import (
	"context"
	"maps"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
)

// RequestInfo describes the request, stream or update that a handler is handling, apart from its
// message. For an update only Metadata is set.
type RequestInfo struct {
	// ClientID is the id of the client that sent the request or opened the stream.
	ClientID string
	// SentAt is the time of sending by the client's clock. It is the zero time if the client did
	// not send one.
	SentAt time.Time
	// Metadata holds the key-value pairs that the client attached. It may be nil, and must not be
	// changed.
	Metadata map[string]string
}

func newRequestInfo(clientID string, sentAt int64, metadata map[string]string) RequestInfo {
	info := RequestInfo{ClientID: clientID, Metadata: metadata}
	if sentAt != 0 {
		info.SentAt = time.Unix(0, sentAt)
	}
	return info
}

type outgoingMetadataKey struct{}

// RequestInfoFromContext returns the description of the request, stream or update that is handled
// with ctx. It returns false if ctx is not derived from the context of a handler or a
// [DeliveryHandler].
func RequestInfoFromContext(ctx context.Context) (RequestInfo, bool) {
	provider, ok := ctx.Value(lazyctx.InfoKey{}).(requestInfoProvider)
	if !ok {
		return RequestInfo{}, false
	}
	return provider.requestInfo(), true
}

// requestInfoProvider is implemented by requests, streams and updates that are being handled. The
// RequestInfo is made when a handler asks for it: most handlers never do.
type requestInfoProvider interface{ requestInfo() RequestInfo }

// ContextWithMetadata returns a copy of ctx whose calls, streams and updates carry metadata in
// addition to the metadata of ctx. New pairs override existing keys. Keys are case-sensitive; keys
// and values must be valid UTF-8. The map is copied.
//
// A handler's calls do not forward the metadata that the handler received; to do so, pass the
// Metadata of [RequestInfo] to ContextWithMetadata.
func ContextWithMetadata(ctx context.Context, metadata map[string]string) context.Context {
	merged := maps.Clone(outgoingMetadata(ctx))
	if merged == nil {
		merged = map[string]string{}
	}
	maps.Copy(merged, metadata)
	return context.WithValue(ctx, outgoingMetadataKey{}, merged)
}

// outgoingMetadata returns the metadata of ctx, which must not be changed.
func outgoingMetadata(ctx context.Context) map[string]string {
	metadata, _ := ctx.Value(outgoingMetadataKey{}).(map[string]string)
	return metadata
}
