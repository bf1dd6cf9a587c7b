package interceptors

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

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

// StaticToken is a TokenFunc that returns always the same.
func StaticToken(token string) TokenFunc {
	return func(context.Context, dynamic.RPCInfo) (string, error) { return token, nil }
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

func (a *auth) clientStream(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	if ctx, err := a.attach(dynamic.StreamContext(next), info); err != nil {
		_ = next.Close(err) // refuses the stream
	} else {
		dynamic.SetStreamContext(next, ctx)
	}
	return next
}
