package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"sync/atomic"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const token = "let me in"

// verify checks the token that a client has sent.
func verify(ctx context.Context, given string, _ dynamic.RPCInfo) (context.Context, error) {
	if subtle.ConstantTimeCompare([]byte(given), []byte(token)) == 0 {
		return nil, errors.NewErrorf(errors.Unauthenticated, "unknown token")
	}
	return ctx, nil
}

// shop implements the Shop service without generated code.
type shop struct {
	order  *registry.Method
	tracer trace.Tracer
	calls  atomic.Int64
}

// take handles the method Order. It returns an error for the first request, so that the client
// retries the call. It panics for order number 13.
func (s *shop) take(ctx context.Context, request *dynamicpb.Message) (*dynamicpb.Message, error) {
	_, span := s.tracer.Start(ctx, "check stock")
	defer span.End()
	number := request.Get(request.Descriptor().Fields().ByName("number")).String()
	switch {
	case s.calls.Add(1) == 1:
		return nil, errors.NewErrorf(errors.Unavailable, "stock is being counted, try again")
	case number == "13":
		panic("unlucky")
	}
	response := dynamicpb.NewMessage(s.order.Output())
	return response, protojson.Unmarshal([]byte(fmt.Sprintf(`{"text": "order %s is on its way"}`, number)), response)
}

// count handles the method Stock.
func (s *shop) count(context.Context, *emptypb.Empty) (*wrapperspb.Int32Value, error) {
	return wrapperspb.Int32(7), nil
}

// goShopping makes five calls: a valid order, an invalid order, an order that makes the handler
// panic, an order with an invalid token, and a call to all servers.
func goShopping(ctx context.Context, out io.Writer, conn *dynamic.Conn, tracer trace.Tracer) {
	traced, span := tracer.Start(ctx, "shopping")
	order(traced, out, conn, `{"number": "1", "pieces": 3}`)
	span.End()
	order(ctx, out, conn, `{"number": "2", "pieces": 1000}`)
	order(ctx, out, conn, `{"number": "13", "pieces": 1}`)
	order(ctx, out, conn, `{"number": "3", "pieces": 1}`, dynamic.WithMetadata(map[string]string{"authorization": "Bearer nothing"}))
	countStock(ctx, out, conn)
}

func countStock(ctx context.Context, out io.Writer, conn *dynamic.Conn) {
	stock, err := dynamic.NewClient[*emptypb.Empty, *wrapperspb.Int32Value](conn, "shop.Shop/Stock")
	if err != nil {
		fmt.Fprintln(out, err)
		return
	}
	for response := range stock.Responses(ctx, nil) {
		fmt.Fprintln(out, "in stock:", response.Result.GetValue(), response.Err)
	}
}

func order(ctx context.Context, out io.Writer, conn *dynamic.Conn, request string, opts ...dynamic.RequestOption) {
	response, err := dynamic.Invoke(ctx, conn, "shop.Shop/Order", json.RawMessage(request), opts...)
	if err != nil {
		fmt.Fprintf(out, "%s: %v\n", request, err)
		return
	}
	message := response.ProtoReflect()
	fmt.Fprintf(out, "%s: %s\n", request, message.Get(message.Descriptor().Fields().ByName("text")))
}
