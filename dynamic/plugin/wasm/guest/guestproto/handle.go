package guestproto

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm/guest"
)

// Handle registers the handler of a method, as [guest.Handle] does. Req and Resp are pointers to generated messages. The
// request is the handler's own. A nil response without an error is an empty one.
//
// A request that cannot be decoded is answered with [guest.MalformedRequest], a response that cannot be encoded with
// [guest.MalformedResponse].
func Handle[Req, Resp proto.Message](method string, handler func(ctx context.Context, request Req) (Resp, error)) {
	guest.Handle(method, encoded(handler))
}

func encoded[Req, Resp proto.Message](handler func(ctx context.Context, request Req) (Resp, error)) guest.Handler {
	var model Req
	requestType := model.ProtoReflect().Type()
	return func(ctx context.Context, encoded []byte) ([]byte, error) {
		request := requestType.New().Interface().(Req)
		if err := proto.Unmarshal(encoded, request); err != nil {
			return nil, guest.Errorf(guest.MalformedRequest, "request: %w", err)
		}
		response, err := handler(ctx, request)
		if err != nil || !response.ProtoReflect().IsValid() {
			return nil, err
		}
		encoded, err = proto.Marshal(response)
		if err != nil {
			return nil, guest.Errorf(guest.MalformedResponse, "response: %w", err)
		}
		return encoded, nil
	}
}
