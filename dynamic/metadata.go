package dynamic

import (
	"context"
	"maps"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
)

// RequestInfo describes the request, stream or update that is being handled. It does not contain
// the message. For an update, only Metadata is set.
type RequestInfo struct {
	// ClientID is the ID of the client that sent the request or opened the stream.
	ClientID string
	// SentAt is the time at which the request was sent, according to the client's clock. It is the
	// zero time if the request does not contain the time.
	SentAt time.Time
	// Topic holds the parts of the topic of a request or stream. It is empty if the method has no
	// topics. It must not be modified.
	Topic []string
	// Metadata holds the key-value pairs that the client attached. It may be nil and must not be
	// modified.
	Metadata map[string]string
}

type outgoingMetadataKey struct{}

// RequestInfoFromContext returns information about the request, stream or update to which ctx
// belongs. ctx must be, or be derived from, the context of a handler, an affinity function, a
// stream on a server or a [DeliveryHandler]. For any other ctx, RequestInfoFromContext returns
// false.
func RequestInfoFromContext(ctx context.Context) (RequestInfo, bool) {
	if ctx == nil {
		return RequestInfo{}, false
	}
	info, ok := transport.RequestInfoFromContext(ctx)
	return RequestInfo(info), ok
}

// ContextWithMetadata returns a copy of ctx to which metadata has been added. The metadata that ctx
// already carries is kept. If a key is in both, the value in the argument is used. The metadata is
// sent with every call, stream and update that uses the returned context. Keys are case-sensitive.
// Keys and values must be valid UTF-8. The map is copied. If ctx is nil, context.Background() is
// used.
//
// If a handler makes calls, they do not carry the metadata that the handler has received. To
// forward it, pass the field Metadata of [RequestInfo] to ContextWithMetadata.
func ContextWithMetadata(ctx context.Context, metadata map[string]string) context.Context {
	if ctx == nil {
		ctx = context.Background()
	}
	merged := maps.Clone(outgoingMetadata(ctx))
	if merged == nil {
		merged = map[string]string{}
	}
	maps.Copy(merged, metadata)
	return context.WithValue(ctx, outgoingMetadataKey{}, merged)
}

// OutgoingMetadataFromContext returns a copy of the metadata that is sent with calls, streams and
// updates that use ctx; see [ContextWithMetadata]. It returns nil if there is none. The copy does
// not contain the metadata that a handler has received; see [RequestInfoFromContext].
func OutgoingMetadataFromContext(ctx context.Context) map[string]string {
	if ctx == nil {
		return nil
	}
	return maps.Clone(outgoingMetadata(ctx))
}

// outgoingMetadata returns the metadata carried by ctx. The map must not be modified.
func outgoingMetadata(ctx context.Context) map[string]string {
	metadata, _ := ctx.Value(outgoingMetadataKey{}).(map[string]string)
	return metadata
}
