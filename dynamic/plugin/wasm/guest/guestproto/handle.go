package guestproto

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm/guest"
)

// Handle registers the handler of a method, as [guest.Handle] does. Req and Resp are pointers to
// generated messages. The handler owns the request. A nil response without an error is sent as an
// empty message.
//
// The call fails with [guest.MalformedRequest] if the request cannot be decoded, and with
// [guest.MalformedResponse] if the response cannot be encoded.
func Handle[Req, Resp proto.Message](method string, handler func(ctx context.Context, request Req) (Resp, error)) {
	guest.Handle(method, newHandler(handler))
}

// newHandler returns a handler that decodes the request and encodes the response.
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
