package interceptors

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// VerifyFunc decides whether a client that has sent this token may use a method. The context that it returns is that of
// the handler; nil is the one it was given. An error with a code refuses the client as it is; any other refuses it with the
// code unauthenticated, and stays with the server. It is called with each call and each new stream, from many goroutines.
type VerifyFunc func(ctx context.Context, token string, info dynamic.RPCInfo) (context.Context, error)

// TokenFunc returns the token for a call or stream. If it fails, nothing is sent, and its error is that of the call. It may
// be called from many goroutines.
type TokenFunc func(ctx context.Context, info dynamic.RPCInfo) (string, error)

// StaticToken is a TokenFunc that returns always the same.
func StaticToken(token string) TokenFunc {
	return func(context.Context, dynamic.RPCInfo) (string, error) { return token, nil }
}

// AuthOption configures [Auth] and [AuthToken].
type AuthOption func(*auth)

// WithAuthKey sets the key of the metadata under which the token travels. The default is "authorization".
func WithAuthKey(key string) AuthOption { return func(a *auth) { a.key = key } }

// WithAuthScheme sets the word before the token, whose case does not matter to a server. The default is "Bearer". With an
// empty one there is the token only.
func WithAuthScheme(scheme string) AuthOption { return func(a *auth) { a.scheme = scheme } }

// WithPublicMethods names methods for which no token is needed, nor sent, such as "my.pkg.MyService/Health".
func WithPublicMethods(fullNames ...string) AuthOption {
	return func(a *auth) { a.public = append(a.public, fullNames...) }
}

// Auth lets only those clients call, and open streams, whose token is found good by verify. Who sends none is refused with
// the code unauthenticated, and so is everybody if verify is nil. The token is read from the metadata, see
// [dynamic.RequestInfo]: by default from "authorization: Bearer <token>".
//
// Servers claim requests, and ask their affinity functions, before that.
func Auth(verify VerifyFunc, opts ...AuthOption) dynamic.ServiceOption {
	a := newAuth(opts)
	a.verify = verify
	return dynamic.ServiceOptions(dynamic.WithServerRPCInterceptors(a.serve), dynamic.WithServerStreamInterceptors(a.serverStream))
}

// AuthToken attaches a token to the calls and streams of a conn, for [Auth] on the servers. The metadata of
// dynamic.WithMetadata wins over it.
func AuthToken(token TokenFunc, opts ...AuthOption) dynamic.ConnOption {
	a := newAuth(opts)
	a.token = token
	return dynamic.ConnOptions(
		dynamic.WithClientRPCInterceptors(a.call),
		dynamic.WithClientMultiRPCInterceptors(a.multi),
		dynamic.WithClientStreamInterceptors(a.clientStream),
	)
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
		opt(a)
	}
	return a
}

func (a *auth) isPublic(info dynamic.RPCInfo) bool {
	return slices.Contains(a.public, info.Descriptor.FullName())
}

var (
	errNoToken  = errors.NewErrorf(errors.Unauthenticated, "no token was sent")
	errBadToken = errors.NewErrorf(errors.Unauthenticated, "the token was refused")
)

// authenticate returns the context of a request that is let in.
func (a *auth) authenticate(ctx context.Context, info dynamic.RPCInfo) (context.Context, error) {
	if a.isPublic(info) {
		return ctx, nil
	}
	incoming, _ := dynamic.RequestInfoFromContext(ctx)
	token, ok := a.parseToken(incoming.Metadata[a.key])
	switch {
	case !ok:
		return nil, errNoToken
	case a.verify == nil:
		return nil, errBadToken
	}
	verified, err := a.verify(ctx, token, info)
	if err != nil {
		if _, coded := errors.AsType[errors.Error](err); coded {
			return nil, err
		}
		return nil, errBadToken
	}
	if verified == nil {
		return ctx, nil
	}
	return verified, nil
}

// parseToken returns the token in a value of the metadata.
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
		_ = next.Close(err) // refuses the stream
	} else {
		dynamic.SetStreamContext(next, ctx)
	}
	return next
}

// attach returns a context whose metadata has the token.
func (a *auth) attach(ctx context.Context, info dynamic.RPCInfo) (context.Context, error) {
	switch {
	case a.isPublic(info):
		return ctx, nil
	case a.token == nil:
		return nil, errors.NewErrorf(errors.InvalidArgument, "AuthToken was given no function")
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
	return authorizedMulti{next, a, info}
}

func (a *auth) clientStream(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	if ctx, err := a.attach(dynamic.StreamContext(next), info); err != nil {
		_ = next.Close(err) // refuses the stream
	} else {
		dynamic.SetStreamContext(next, ctx)
	}
	return next
}

type authorizedMulti struct {
	dynamic.ClientMultiRPCHandler

	auth *auth
	info dynamic.RPCInfo
}

func (m authorizedMulti) Send(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) error {
	ctx, err := m.auth.attach(ctx, m.info)
	if err != nil {
		return err
	}
	return m.ClientMultiRPCHandler.Send(ctx, request, opts...)
}
