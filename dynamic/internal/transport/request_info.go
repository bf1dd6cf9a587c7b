package transport

import (
	"context"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
)

// RequestInfo describes the request, stream or update that is being handled. Its fields are those
// of dynamic.RequestInfo, so that one type can be converted to the other.
type RequestInfo struct {
	ClientID string
	SentAt   time.Time
	Topic    []string
	Metadata map[string]string
}

// NewRequestInfo returns a RequestInfo. sentAt is in nanoseconds since the Unix epoch. If it is 0,
// the send time is not known. topic and metadata must not be modified afterwards.
func NewRequestInfo(clientID string, sentAt int64, topic []string, metadata map[string]string) RequestInfo {
	info := RequestInfo{ClientID: clientID, Topic: topic, Metadata: metadata}
	if sentAt != 0 {
		info.SentAt = time.Unix(0, sentAt)
	}
	return info
}

// InfoProvider is implemented by requests, streams and updates that are being handled. Their
// contexts contain the InfoProvider under the key [lazyctx.InfoKey]. A RequestInfo is created only
// when a handler asks for one, because most handlers do not need it.
type InfoProvider interface{ RequestInfo() RequestInfo }

// RequestInfoFromContext returns information about the request, stream or update to which ctx
// belongs. For any other ctx, it returns false. ctx must not be nil.
func RequestInfoFromContext(ctx context.Context) (RequestInfo, bool) {
	provider, ok := ctx.Value(lazyctx.InfoKey{}).(InfoProvider)
	if !ok {
		return RequestInfo{}, false
	}
	return provider.RequestInfo(), true
}
