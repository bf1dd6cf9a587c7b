// Command protoguest is a plugin for tests. Its handlers receive and return messages.
package main

import (
	"context"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm/guest"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm/guest/guestproto"
)

func init() {
	guestproto.Handle("test.Proto/Echo", echo)
	guestproto.Handle("test.Proto/Refuse", refuse)
}

func echo(_ context.Context, request *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	return request, nil
}

// refuse returns an error that contains the request as a detail.
func refuse(_ context.Context, request *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	detail, err := guestproto.Detail(request)
	if err != nil {
		return nil, err
	}
	return nil, &guest.Error{
		Code: guest.FailedPrecondition, Err: guest.Errorf("own", "not this one"), Details: []guest.Detail{detail},
	}
}

func main() {}
