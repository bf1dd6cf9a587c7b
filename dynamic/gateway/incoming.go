package gateway

import (
	"net/http"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// incoming is an HTTP request and the state of its call.
type incoming struct {
	request  *http.Request
	protocol protocol
	// method is the method that the request is for, or nil.
	method *registry.Method
	// bound is nil if the path of the request is "/pkg.Service/Method"; see [WithBindings].
	bound *BoundRequest
	// options are the options of the call.
	options []dynamic.RequestOption
	// ended reports whether the call was made and has ended. facts describes the call if it was a
	// single call. err is the error of the call, or the error with which the gateway has refused to
	// make it.
	ended bool
	facts errors.CallFacts
	err   error
}

type incomingKey struct{}

// admit checks whether a request for a method is permitted, sets the options of its call, and
// counts the call. If it returns an error, the request is refused. Otherwise, the caller must call
// release at the end of the call.
//
// The metadata of the client is in the context before the authorizer is called, so that the
// authorizer can replace it.
func (g *Gateway) admit(in *incoming) (release func(), err error) {
	if err := g.options.checkOrigin(in.request); err != nil {
		return nil, err
	}
	if metadata := g.options.metadataOf(in.request.Header); len(metadata) > 0 {
		in.request = in.request.WithContext(dynamic.ContextWithMetadata(in.request.Context(), metadata))
	}
	if authorize := g.options.authorize; authorize != nil {
		ctx, err := authorize(in.request, in.method)
		if err != nil {
			return nil, err
		}
		if ctx != nil {
			in.request = in.request.WithContext(ctx)
		}
	}
	timeout, err := timeoutOf(in.request.Header)
	if err != nil {
		return nil, err
	}
	if in.options, err = g.options.requestOptions(in.request, in.method, timeout, in.bound); err != nil {
		return nil, err
	}
	end, err := g.acquire(in)
	switch {
	case err != nil:
		return nil, err
	case isLong(in.method):
	case in.protocol == protocolWebSocket:
		timeout = 0 // a WebSocket may wait for the message of its call, which has the timeout
	default:
		return end, nil
	}
	ctx, cancel := longContext(in.request.Context(), timeout)
	in.request = in.request.WithContext(ctx)
	return func() { cancel(); end() }, nil
}

// refuse sends err to the client instead of serving the request.
func (g *Gateway) refuse(w http.ResponseWriter, in *incoming, err error) {
	if in.protocol == protocolConnect && g.errorWriter.IsSupported(in.request) {
		setRetryAfter(w.Header(), err)
		_ = g.errorWriter.Write(w, in.request, g.options.connectError(err))
		return
	}
	g.writeProblem(w, err)
}

// refuseUnknown answers a request for a path that the gateway does not serve. As in Connect, the
// HTTP status is 404, unless the protocol uses trailers for the code.
func (g *Gateway) refuseUnknown(w http.ResponseWriter, r *http.Request) {
	err := errors.NewErrorf(errors.NotFound, "the gateway serves no %.200q", r.URL.Path)
	unimplemented := errors.NewErrorf(errors.Unimplemented, "%w", err)
	switch isCall := g.errorWriter.IsSupported(r) && r.Method == http.MethodPost; {
	case isCall && isFramed(r):
		_ = g.errorWriter.Write(w, r, g.options.connectError(unimplemented))
	case isCall:
		g.writeProblemAs(w, http.StatusNotFound, unimplemented)
	default:
		g.writeProblem(w, err)
	}
}

// readsAll reports whether the whole body of a request is read before the response starts. Over
// HTTP/2, the streams of Connect and gRPC send messages in both directions at once.
func (in *incoming) readsAll() bool {
	switch {
	case in.request.ContentLength == 0: // there is no body
		return false
	case in.request.ProtoMajor == 1:
		return true
	case in.method == nil: // of the gateway's own services, only reflection has a stream
		return !strings.HasPrefix(in.request.URL.Path, "/grpc.reflection.")
	default:
		return in.method.Kind() != registry.KindStream || in.protocol != protocolConnect
	}
}

// protocolName returns the name of the protocol for the access log.
func (in *incoming) protocolName() string {
	switch in.protocol {
	case protocolSSE:
		return "sse"
	case protocolNDJSON:
		return "ndjson"
	case protocolWebSocket:
		return "websocket"
	case protocolPlain:
		return "json"
	case protocolConnect:
	}
	switch contentType := mediaType(in.request.Header.Get("Content-Type")); {
	case strings.HasPrefix(contentType, "application/grpc-web"):
		return "grpc-web"
	case strings.HasPrefix(contentType, "application/grpc"):
		return "grpc"
	}
	return "connect"
}

// acquire counts the call of a request. If there are too many calls or streams, it returns an
// error. Otherwise, the caller must call release at the end of the call.
func (g *Gateway) acquire(in *incoming) (release func(), err error) {
	if in.method.Kind() == registry.KindSingle && in.protocol != protocolWebSocket {
		return g.calls.acquire()
	}
	return g.streams.acquire(in.request.RemoteAddr)
}
