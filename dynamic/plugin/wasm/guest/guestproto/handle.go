package guestproto

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm/guest"
)

// Handle registers the handler for a method, like [guest.Handle]. Req and Resp must be pointers to
// generated messages. The handler may keep and modify the request. If the handler returns a nil
// response without an error, the caller receives an empty message.
//
// The call fails with code [guest.MalformedRequest] if the request cannot be decoded, and with code
// [guest.MalformedResponse] if the response cannot be encoded.
func Handle[Req, Resp proto.Message](method string, handler func(ctx context.Context, request Req) (Resp, error)) {
	guest.Handle(method, newHandler(handler))
}

// newHandler returns a handler that decodes the request, calls handler and encodes the response.
func newHandler[Req, Resp proto.Message](handler func(ctx context.Context, request Req) (Resp, error)) guest.Handler {
	var model Req
	requestType := model.ProtoReflect().Type()
	return func(ctx context.Context, encoded []byte) ([]byte, error) {
		request := requestType.New().Interface().(Req)
		if err := proto.Unmarshal(encoded, request); err != nil {
			return nil, guest.Errorf(guest.MalformedRequest, "cannot decode request: %w", err)
		}
		response, err := handler(ctx, request)
		if err != nil || !response.ProtoReflect().IsValid() {
			return nil, err
		}
		encoded, err = proto.Marshal(response)
		if err != nil {
			return nil, guest.Errorf(guest.MalformedResponse, "cannot encode response: %w", err)
		}
		return encoded, nil
	}
}
