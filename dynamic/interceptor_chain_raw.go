package dynamic

import (
	"context"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/serve"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// rawCall holds the encoded messages of a call to a raw handler whose interceptors receive decoded
// messages. It is stored in the request's context, so it is lost if an interceptor replaces that
// context with an unrelated one.
type rawCall struct {
	request []byte
	// response is the most recent response returned by the handler.
	response atomic.Pointer[[]byte]
}

type rawCallKey struct{}

// interceptedRaw returns a function that calls a raw handler through interceptors. The interceptors
// receive decoded messages. If they do not change a message, its original bytes are used. Encoding
// the message again could change the bytes, because protobuf encodings are not canonical.
func (b *boundHandler) interceptedRaw(interceptors []ServerRPCInterceptor, info RPCInfo) serve.HandleFunc {
	handler := chainServerRPC(interceptors, info, func(ctx context.Context, request proto.Message) (proto.Message, error) {
		call, _ := ctx.Value(rawCallKey{}).(*rawCall)
		if call == nil {
			// An interceptor has replaced the request's context with an unrelated one.
			call = &rawCall{}
		}
		encoded, err := b.requestType.Encode(request, call.request)
		if err != nil {
			return nil, wrongMessage("request", info.Descriptor, err)
		}
		response, err := b.handle(ctx, wire.Body{Raw: encoded})
		if err != nil {
			return nil, err
		}
		call.response.Store(&response.Raw)
		message, err := b.responseType.Decode(response.Raw)
		if err != nil {
			return nil, errors.NewErrorf(errors.MalformedResponse, "response of %s: %w", info.Descriptor.FullName(), err)
		}
		return message, nil
	})
	return func(ctx context.Context, request wire.Body) (wire.Body, error) {
		message, err := b.requestType.Decode(request.Raw)
		if err != nil {
			return wire.Body{}, errors.NewError(errors.MalformedRequest, err)
		}
		call := &rawCall{request: request.Raw}
		response, err := handler(context.WithValue(ctx, rawCallKey{}, call), message)
		if err != nil || isNil(response) {
			return wire.Body{}, err
		}
		var original []byte
		if returned := call.response.Load(); returned != nil {
			original = *returned
		}
		encoded, err := b.responseType.Encode(response, original)
		if err != nil {
			return wire.Body{}, wrongMessage("response", info.Descriptor, err)
		}
		return wire.Body{Raw: encoded}, nil
	}
}
