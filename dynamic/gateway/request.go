package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Headers of requests and responses that this package defines.
const (
	// TopicHeader contains the topic of a call: its parts, percent-encoded and joined by slashes.
	TopicHeader = "Psrpc-Topic"
	// ExpectHeader contains the number of responses after which a multi call ends.
	ExpectHeader = "Psrpc-Expect"
	// SelectHeader says how a server is selected: "first", "min=0.5" and "max=0.9", separated by
	// semicolons; see [dynamic.SelectionOpts].
	SelectHeader = "Psrpc-Select"
	// MetadataPrefix is the beginning of headers that become metadata of the call.
	MetadataPrefix = "Psrpc-Meta-"
	// ServerHeader is the header of a response that contains the ID of the server that answered.
	ServerHeader = "Psrpc-Server"
	// RequestIDHeader is the header of a response that contains the ID of the request on the bus.
	RequestIDHeader = "Psrpc-Request-Id"
)

// isLong reports whether the method is a stream or a subscription, whose calls may stay open
// without a time limit.
func isLong(method *registry.Method) bool {
	return method.Kind() == registry.KindStream || method.Kind() == registry.KindSubscription
}

// requestOptions returns the options of the call: topic, metadata, timeout and the like. timeout is
// the timeout that the client asks for, or 0. bound is nil if the path of the request is
// "/pkg.Service/Method".
func (o *options) requestOptions(
	r *http.Request, method *registry.Method, timeout time.Duration, bound *BoundRequest,
) ([]dynamic.RequestOption, error) {
	var opts []dynamic.RequestOption
	topic, err := topicOf(r, method, bound)
	if err != nil {
		return nil, err
	}
	if topic != nil {
		opts = append(opts, dynamic.WithTopic(topic...))
	}
	if value := r.Header.Get(ExpectHeader); value != "" {
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return nil, headerError(ExpectHeader, value, "a positive number")
		}
		opts = append(opts, dynamic.WithExpectedResponses(n))
	}
	if value := r.Header.Get(SelectHeader); value != "" {
		selection, err := parseSelection(value)
		if err != nil {
			return nil, err
		}
		opts = append(opts, dynamic.WithSelectionOpts(selection))
	}
	if timeout := shorter(timeout, o.maxTimeout); timeout > 0 && !isLong(method) {
		opts = append(opts, dynamic.WithRequestTimeout(timeout))
	}
	if !o.strictJSON {
		opts = append(opts, dynamic.WithDiscardUnknown())
	}
	return opts, nil
}

func headerError(name, value, wanted string) error {
	return errors.NewErrorf(errors.InvalidArgument, "header %s: %.100q is not %s", name, value, wanted)
}

// topicOf returns the parts of the topic, or nil if the request has none. The query parameter
// "topic" is for clients that cannot set headers, such as WebSockets and EventSource in a browser.
//
// A bound request cannot use this parameter, because its query contains fields of the message. If its
// path contains the topic, the header cannot change it, because a proxy may have checked the path.
func topicOf(r *http.Request, method *registry.Method, bound *BoundRequest) ([]string, error) {
	value := r.Header.Get(TopicHeader)
	switch {
	case bound != nil && bound.Topic != nil:
		return bound.Topic, nil
	case value == "" && bound == nil && r.Method == http.MethodGet:
		value = r.URL.Query().Get("topic")
	}
	if value == "" {
		return nil, nil
	}
	if !method.Topics() {
		return nil, errors.NewErrorf(errors.InvalidArgument, "method %s has no topics", method.FullName())
	}
	parts := strings.Split(value, "/")
	for i, part := range parts {
		decoded, err := url.PathUnescape(part)
		if err != nil {
			return nil, headerError(TopicHeader, value, "percent-encoded")
		}
		parts[i] = decoded
	}
	return parts, nil
}

// metadataOf returns the metadata of a call. Keys that [WithMetadataHeaders] names come only from
// the headers with these names, because a proxy may set or remove those. A header Psrpc-Meta-<key>
// cannot replace them.
func (o *options) metadataOf(header http.Header) map[string]string {
	metadata := map[string]string{}
	for name, values := range header {
		key, found := strings.CutPrefix(name, MetadataPrefix)
		if key = strings.ToLower(key); found && key != "" && len(values) > 0 && !slices.Contains(o.metadata, key) {
			metadata[key] = values[0]
		}
	}
	for _, name := range o.metadata {
		if value := header.Get(name); value != "" {
			metadata[name] = value
		}
	}
	return metadata
}

func parseSelection(value string) (dynamic.SelectionOpts, error) {
	opts := dynamic.SelectionOpts{
		AffinityTimeout: dynamic.DefaultSelectionTimeout, ShortCircuitTimeout: dynamic.DefaultShortCircuitTimeout,
	}
	for item := range strings.SplitSeq(value, ";") {
		name, number, _ := strings.Cut(strings.TrimSpace(item), "=")
		if name == "first" && number == "" {
			opts.AcceptFirstAvailable = true
			continue
		}
		affinity, err := strconv.ParseFloat(number, 32)
		if err != nil || !(affinity > 0) {
			return opts, headerError(SelectHeader, value, "of the form first;min=0.5;max=0.9")
		}
		switch name {
		case "min":
			opts.MinimumAffinity = float32(affinity)
		case "max":
			opts.MaximumAffinity = float32(affinity)
		default:
			return opts, headerError(SelectHeader, value, "of the form first;min=0.5;max=0.9")
		}
	}
	return opts, nil
}

// grpcUnits are the units of the header Grpc-Timeout, from
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
var grpcUnits = map[byte]time.Duration{
	'H': time.Hour, 'M': time.Minute, 'S': time.Second,
	'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
}

// timeoutOf returns the timeout that the client asks for, or 0 if it asks for none.
func timeoutOf(header http.Header) (time.Duration, error) {
	if value := header.Get("Connect-Timeout-Ms"); value != "" {
		ms, err := strconv.ParseInt(value, 10, 64)
		if err != nil || ms < 1 || len(value) > 10 {
			return 0, headerError("Connect-Timeout-Ms", value, "a number of milliseconds with at most 10 digits")
		}
		return time.Duration(ms) * time.Millisecond, nil
	}
	value := header.Get("Grpc-Timeout")
	if value == "" {
		return 0, nil
	}
	unit := grpcUnits[value[len(value)-1]]
	n, err := strconv.ParseInt(value[:len(value)-1], 10, 64)
	if err != nil || unit == 0 || n < 1 || len(value) > 9 {
		return 0, headerError("Grpc-Timeout", value, "at most 8 digits and a unit of H, M, S, m, u, n")
	}
	if n > int64(24*time.Hour/unit) {
		return 24 * time.Hour, nil
	}
	return time.Duration(n) * unit, nil
}

// shorter returns the shorter of two timeouts. A timeout of 0 means that there is none.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}
