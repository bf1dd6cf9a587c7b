package interceptors

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// VerifyFunc decides whether a client that sent token may call the method described by info. The
// returned context is passed to the handler; if it is nil, the handler receives ctx. An
// [errors.Error] is sent to the client unchanged. Any other error is not sent: the client receives
// a generic error with the code unauthenticated instead. A VerifyFunc is called once for each call
// and once for each new stream. It must be safe for concurrent use.
type VerifyFunc func(ctx context.Context, token string, info dynamic.RPCInfo) (context.Context, error)

// TokenFunc returns the token to send with a call or stream. If it returns an error, nothing is
// sent and the call or stream fails with that error. A TokenFunc must be safe for concurrent use.
type TokenFunc func(ctx context.Context, info dynamic.RPCInfo) (string, error)

// StaticToken returns a TokenFunc that always returns token.
func StaticToken(token string) TokenFunc {
	return func(context.Context, dynamic.RPCInfo) (string, error) { return token, nil }
}

// AuthOption configures [Auth] and [AuthToken].
type AuthOption func(*auth)

// WithAuthKey sets the metadata key that holds the token. The default is "authorization".
func WithAuthKey(key string) AuthOption { return func(a *auth) { a.key = key } }

// WithAuthScheme sets the authentication scheme, which precedes the token in the metadata value.
// The default is "Bearer". Servers ignore case when they compare schemes. If scheme is empty, the
// metadata value consists of the token alone.
func WithAuthScheme(scheme string) AuthOption { return func(a *auth) { a.scheme = scheme } }

// WithPublicMethods adds methods that do not require a token. fullNames contains their full names,
// such as "my.pkg.MyService/Health". Clients send no token to these methods.
func WithPublicMethods(fullNames ...string) AuthOption {
	return func(a *auth) { a.public = append(a.public, fullNames...) }
}

// Auth rejects calls and streams whose token is not accepted by verify. A call without a token
// fails with the code unauthenticated. If verify is nil, all calls are rejected except those to
// public methods (see [WithPublicMethods]). Auth reads the token from the metadata of the request
// (see [dynamic.RequestInfo]), by default from "authorization: Bearer <token>".
//
// Before Auth runs, the server has already called its affinity function and claimed the request. An
// unauthenticated client can therefore trigger both.
func Auth(verify VerifyFunc, opts ...AuthOption) dynamic.ServiceOption {
	a := newAuth(opts)
	a.verify = verify
	return dynamic.WithInterceptors(dynamic.Interceptors{
		ServerRPC:    a.serve,
		ServerStream: a.serverStream,
	})
}

// AuthToken makes a conn send a token in the metadata of each call and stream, as required by
// servers that use [Auth]. A token set with dynamic.WithMetadata takes precedence over the token
// from the TokenFunc. If the TokenFunc is nil, all calls and streams fail with the code
// invalid_argument, except those to public methods (see [WithPublicMethods]).
func AuthToken(token TokenFunc, opts ...AuthOption) dynamic.ConnOption {
	a := newAuth(opts)
	a.token = token
	return dynamic.WithInterceptors(dynamic.Interceptors{
		ClientRPC:      a.call,
		ClientMultiRPC: a.multi,
		ClientStream:   a.clientStream,
	})
}

type auth struct {
	key, scheme string
	public      []string
	verify      VerifyFunc
	token       TokenFunc
}

func newAuth(opts []AuthOption) *auth {
	a := &auth{key: "authorization", scheme: "Bearer"}
	for _, opt := range opts {
		if opt != nil {
			opt(a)
		}
	}
	return a
}

func (a *auth) isPublic(info dynamic.RPCInfo) bool {
	return slices.Contains(a.public, info.Descriptor.FullName())
}

var (
	errNoToken  = errors.NewErrorf(errors.Unauthenticated, "no token in metadata")
	errBadToken = errors.NewErrorf(errors.Unauthenticated, "token was not accepted")
)

// authenticate returns the context for the handler, or the error with which the request is
// rejected.
func (a *auth) authenticate(ctx context.Context, info dynamic.RPCInfo) (context.Context, error) {
	if a.isPublic(info) {
		return ctx, nil
	}
	requestInfo, _ := dynamic.RequestInfoFromContext(ctx)
	token, ok := a.parseToken(requestInfo.Metadata[a.key])
	switch {
	case !ok:
		return nil, errNoToken
	case a.verify == nil:
		return nil, errBadToken
	}
	handlerCtx, err := a.verify(ctx, token, info)
	if err != nil {
		if _, coded := errors.AsType[errors.Error](err); coded {
			return nil, err
		}
		return nil, errBadToken
	}
	if handlerCtx == nil {
		return ctx, nil
	}
	return handlerCtx, nil
}

// parseToken returns the token in a metadata value. ok is false if the value has a different scheme
// or contains no token.
func (a *auth) parseToken(value string) (token string, ok bool) {
	if a.scheme == "" {
		return value, value != ""
	}
	scheme, token, _ := strings.Cut(value, " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(scheme, a.scheme) && token != ""
}

func (a *auth) serve(
	ctx context.Context, request proto.Message, info dynamic.RPCInfo, handler dynamic.ServerRPCHandler,
) (proto.Message, error) {
	ctx, err := a.authenticate(ctx, info)
	if err != nil {
		return nil, err
	}
	return handler(ctx, request)
}

func (a *auth) serverStream(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	if ctx, err := a.authenticate(dynamic.StreamContext(next), info); err != nil {
		// Closing the handler rejects the stream.
		_ = next.Close(err)
	} else {
		dynamic.SetStreamContext(next, ctx)
	}
	return next
}

// attach returns a context whose outgoing metadata includes the token.
func (a *auth) attach(ctx context.Context, info dynamic.RPCInfo) (context.Context, error) {
	switch {
	case a.isPublic(info):
		return ctx, nil
	case a.token == nil:
		return nil, errors.NewErrorf(errors.InvalidArgument, "AuthToken: token function is nil")
	}
	token, err := a.token(ctx, info)
	if err != nil {
		return nil, err
	}
	if a.scheme != "" {
		token = a.scheme + " " + token
	}
	return dynamic.ContextWithMetadata(ctx, map[string]string{a.key: token}), nil
}

func (a *auth) call(info dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
	return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (proto.Message, error) {
		ctx, err := a.attach(ctx, info)
		if err != nil {
			return nil, err
		}
		return next(ctx, request, opts...)
	}
}

func (a *auth) multi(info dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
	return authMulti{next, a, info}
}

func (a *auth) clientStream(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	if ctx, err := a.attach(dynamic.StreamContext(next), info); err != nil {
		// Closing the handler rejects the stream.
		_ = next.Close(err)
	} else {
		dynamic.SetStreamContext(next, ctx)
	}
	return next
}

type authMulti struct {
	dynamic.ClientMultiRPCHandler

	auth *auth
	info dynamic.RPCInfo
}

func (m authMulti) Send(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
	ctx, err := m.auth.attach(ctx, m.info)
	if err != nil {
		return err
	}
	return m.ClientMultiRPCHandler.Send(ctx, request, opts...)
}
