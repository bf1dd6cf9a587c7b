package dynamic

import (
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/call"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/stream"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/update"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Option configures both sides of calls. Pass it to [NewServer] and [NewConn]. Options that also
// apply to a single service, such as [WithInterceptors], can be passed to [Server.Register], which
// returns an error for the others.
type Option interface {
	ServiceOption
	ConnOption
}

// ServerOption configures [NewServer]. Nil options are ignored, as they are in all functions of
// this package.
type ServerOption interface{ applyServer(o *serverOptions) }

// ServiceOption configures a service if it is passed to [Server.Register] or
// [Registration.Replace], or all services of a server if it is passed to [NewServer].
type ServiceOption interface {
	ServerOption
	applyRegister(o *registerOptions)
}

// ConnOption configures [NewConn].
type ConnOption interface{ applyConn(o *connOptions) }

// RequestOption configures a call, stream, subscription or update.
//
// Some RequestOptions can also be passed to [NewConn], as the default of the conn: the options for
// the buffers of subscriptions and streams, [WithStreamWindow], [WithDiscardUnknown] and the
// interceptors. For all others, NewConn returns an error.
type RequestOption interface {
	ConnOption
	applyRequest(o *requestOptions)
}

// StreamOption configures one call to Send on a stream.
type StreamOption interface{ applySend(o *stream.SendOptions) }

// sharedOptions holds what can be set for servers as well as for conns.
type sharedOptions struct {
	id string
	// newID is the function set with WithIDGenerator, or nil. idErr is set if newID has returned an
	// invalid ID for the server or conn.
	newID  IDGenerator
	idErr  error
	logger *slog.Logger
	// maxFrameSize is the maximum size of a frame in bytes. 0 means that there is no limit.
	maxFrameSize int
	compression  transport.Compression
	decompressed decompressionOptions
	// allowEmptyParts reports whether AllowEmptyTopicParts is used.
	allowEmptyParts bool
	// keepalive is the argument of WithKeepalive. The function keepaliveInterval interprets it.
	keepalive time.Duration
}

// decompressionOptions holds the limits for compressed frames from other peers.
type decompressionOptions struct {
	// maxRatio is the ratio passed to WithMaxCompressionRatio. 0 stands for the default.
	maxRatio int
	// maxMemory is the maximum total size of the decompressed frames in bytes.
	maxMemory int
}

// streamSetting is the only implementation of StreamSetting. A field that is zero changes nothing.
type streamSetting struct{ buffer, window int }

// serverOptions holds what the options of a server set, and the defaults for its services.
type serverOptions struct {
	sharedOptions

	timeout time.Duration
	// maxConcurrent is the maximum number of requests that are handled at the same time. 0 means
	// that there is no limit.
	maxConcurrent int
	// maxPendingClaims, maxPendingClaimBytes and grantTimeout limit the number, the total size and
	// the waiting time of requests for which the client has not selected a server yet.
	maxPendingClaims     int
	maxPendingClaimBytes int
	grantTimeout         time.Duration
	// maxStreams and maxSilentStreams limit the number of open streams. maxSilentStreams applies
	// only to streams whose client has announced no keepalive interval.
	maxStreams       int
	maxSilentStreams int
	// streamIdleTimeout is how long a stream without keepalives may be idle. 0 means that there is
	// no limit.
	streamIdleTimeout time.Duration
	// streamDefaults applies to streams unless options of the service or handler set other values.
	streamDefaults streamSetting
	interceptors   serverInterceptors
	// service holds the defaults for the options of the services.
	service registerOptions
}

// registerOptions holds what the options of a service set.
type registerOptions struct {
	wireName        string
	allowMissing    bool
	requireAffinity bool
	// servesWhileDrained reports whether ServeWhileDrained is used.
	servesWhileDrained bool
	// streamDefaults applies to streams unless options of the handler set other values.
	streamDefaults streamSetting
	interceptors   serverInterceptors
	// err joins the errors about options that Register does not accept.
	err error
}

// connOptions holds what the options of a conn set.
type connOptions struct {
	sharedOptions

	// timeout is the timeout set with WithClientTimeout, or 0 if the option is not used.
	timeout          time.Duration
	selectionTimeout time.Duration
	requestHooks     []RequestHook
	responseHooks    []ResponseHook
	interceptors     clientInterceptors
	// subscriptionDefaults are applied to each subscription, and streamDefaults to each stream.
	// Options that are passed to Subscribe or OpenStream are applied after them.
	subscriptionDefaults, streamDefaults []RequestOption
	// discardUnknown reports whether WithDiscardUnknown is used.
	discardUnknown bool
	// err joins the errors about options that NewConn does not accept.
	err error
}

// requestOptions holds what the options of a call, stream, subscription or update set.
type requestOptions struct {
	// timeout is the timeout set with WithRequestTimeout, or 0 if the option is not used.
	timeout time.Duration
	// selection is made from the argument of WithSelectionOpts. It is nil if that option is not used.
	selection *call.Selection
	topic     []string
	metadata  map[string]string
	// expected is the number of responses after which a multi call ends. It is 0 if
	// WithExpectedResponses is not used.
	expected int
	// serverIDs holds the pointers passed to WithPeer. When the call ends, the ID of the server
	// that has answered is stored in the variable to which each of them points. facts holds the
	// pointers passed to WithFacts, which are set at the same time.
	serverIDs []*string
	facts     []*errors.CallFacts

	// bufferSize is the buffer size of a subscription in updates, or of a stream in messages. It is
	// 0 for the default size.
	bufferSize int
	overflow   update.Overflow
	hasTopic   bool
	// bufferBytes is the buffer size of a subscription in bytes, or 0 for the default.
	bufferBytes int
	// window is the size of a stream's send window, in messages. It is 0 if the stream has no
	// window.
	window int

	// interceptors holds the interceptors of this request only. It is nil if there are none.
	interceptors *clientInterceptors
}
