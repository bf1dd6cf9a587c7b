package dynamic_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// shopSource has a method of every kind. The name of one of them is not in CamelCase.
const shopSource = `
syntax = "proto3";
package shop;
import "options.proto";
import "google/protobuf/wrappers.proto";

service Shop {
  rpc Sell(google.protobuf.StringValue) returns (google.protobuf.Int64Value);
  rpc restock_all(google.protobuf.StringValue) returns (google.protobuf.Int64Value) {
    option (psrpc.options).type = MULTI;
  }
  rpc Bake(google.protobuf.StringValue) returns (google.protobuf.Int64Value) {
    option (psrpc.options).type = AFFINITY;
  }
  rpc Taste(google.protobuf.StringValue) returns (google.protobuf.Int64Value) {
    option (psrpc.options).type = AFFINITY;
  }
  rpc Chat(google.protobuf.StringValue) returns (google.protobuf.Int64Value) {
    option (psrpc.options).stream = true;
    option (psrpc.options).type = AFFINITY;
  }
  rpc Branch(google.protobuf.StringValue) returns (google.protobuf.Int64Value) {
    option (psrpc.options) = { topics: true topic_params: { names: "city" } };
  }
  rpc Branches(google.protobuf.StringValue) returns (google.protobuf.Int64Value) {
    option (psrpc.options) = { topics: true topic_params: { names: "city" names: "street" } type: MULTI };
  }
  rpc Tour(google.protobuf.StringValue) returns (google.protobuf.Int64Value) {
    option (psrpc.options) = { topics: true stream: true };
  }
  rpc Offers(google.protobuf.StringValue) returns (google.protobuf.Int64Value) {
    option (psrpc.options) = { subscription: true type: MULTI };
  }
  rpc CityOffers(google.protobuf.StringValue) returns (google.protobuf.Int64Value) {
    option (psrpc.options) = { subscription: true topics: true type: MULTI };
  }
}
`

type length = *wrapperspb.Int64Value

// shop implements all methods of the service. Its methods have the signatures that psrpc's
// generated interfaces have.
type shop struct{ factor int64 }

func (s *shop) count(request text) length {
	return wrapperspb.Int64(s.factor * int64(len(request.GetValue())))
}

func (s *shop) Sell(_ context.Context, request text) (length, error) {
	if request.GetValue() == "" {
		return nil, errors.NewErrorf(errors.InvalidArgument, "nothing to sell")
	}
	return s.count(request), nil
}
func (s *shop) RestockAll(_ context.Context, request text) (length, error) {
	return s.count(request), nil
}
func (s *shop) Bake(_ context.Context, request text) (length, error) { return s.count(request), nil }
func (s *shop) BakeAffinity(request text) float32                    { return float32(len(request.GetValue())) - 2 }
func (s *shop) Taste(context.Context, text) (length, error)          { return nil, nil } //nolint:nilnil // an empty message
func (s *shop) TasteAffinity(ctx context.Context, request text) float32 {
	if ctx.Err() != nil {
		return -1
	}
	return s.BakeAffinity(request)
}

func (s *shop) Chat(stream dynamic.ServerStream[length, text]) error {
	// The handler can convert the stream to any other interface that the stream implements.
	sender, ok := any(stream).(interface {
		Send(message length, opts ...dynamic.StreamOption) error
	})
	if !ok {
		return errors.New("the stream has no method Send")
	}
	for request := range stream.Channel() {
		if err := sender.Send(s.count(request)); err != nil {
			return err
		}
	}
	return nil
}
func (s *shop) ChatAffinity() float32                                  { return float32(s.factor) }
func (s *shop) Branch(_ context.Context, request text) (length, error) { return s.count(request), nil }
func (s *shop) Branches(_ context.Context, request text) (length, error) {
	return s.count(request), nil
}
func (s *shop) Tour(stream dynamic.ServerStream[length, text]) error { return s.Chat(stream) }

// Close and Offers are not handlers, so they are ignored.
func (s *shop) Close() error { return nil }
func (s *shop) Offers() int  { return 0 }

// shopWorld is a bus with a server and a conn. The registry of the conn contains shop.Shop.
type shopWorld struct {
	*world

	service *registry.Service
}

func newShopWorld(t testing.TB, opts ...dynamic.ServerOption) shopWorld {
	t.Helper()
	w := newWorldOn(t, bus.NewLocal(), opts...)
	require.NoError(t, w.registry.ParseProto(fstest.MapFS{"shop.proto": {Data: []byte(shopSource)}}, "shop.proto"))
	service, ok := w.registry.Service("shop.Shop")
	require.True(t, ok)
	return shopWorld{w, service}
}

// register registers handlers of shop.Shop and returns the lines of the error.
func (w shopWorld) register(t testing.TB, handlers dynamic.Handlers, opts ...dynamic.ServiceOption) (problems []string) {
	t.Helper()
	registration, err := w.server.Register(w.service, handlers, opts...)
	if err == nil {
		require.NoError(t, registration.Close(t.Context()))
		return nil
	}
	requireCode(t, errors.InvalidArgument, err)
	return strings.Split(err.Error(), "\n")
}

// sell calls a method and returns the value of the response.
func (w shopWorld) sell(t testing.TB, method, request string, opts ...dynamic.RequestOption) (int64, error) {
	t.Helper()
	client, err := dynamic.NewClient[text, length](w.conn, "shop.Shop/"+method)
	require.NoError(t, err)
	response, err := client.Call(t.Context(), wrapperspb.String(request), opts...)
	return response.GetValue(), err
}

func TestHandlersOf_EveryKind(t *testing.T) {
	t.Parallel()
	w := newShopWorld(t)
	registration, err := w.server.Register(w.service, dynamic.HandlersOf(&shop{factor: 3}))
	require.NoError(t, err)
	require.NoError(t, registration.RegisterTopic("Branch", "Rome"))

	sold, err := w.sell(t, "Sell", "bread")
	require.NoError(t, err)
	assert.Equal(t, int64(15), sold)
	_, err = w.sell(t, "Sell", "")
	assert.Equal(t, "nothing to sell", requireCode(t, errors.InvalidArgument, err).Error())
	sold, err = w.sell(t, "Branch", "bun", dynamic.WithTopic("Rome"))
	require.NoError(t, err)
	assert.Equal(t, int64(9), sold)
	tasted, err := w.sell(t, "Taste", "cake")
	require.NoError(t, err, "a nil response is an empty message")
	assert.Zero(t, tasted)

	multi, err := dynamic.NewClient[text, length](w.conn, "shop.Shop/restock_all")
	require.NoError(t, err)
	for response := range multi.Responses(t.Context(), wrapperspb.String("salt")) {
		require.NoError(t, response.Err)
		assert.Equal(t, int64(12), response.Result.GetValue())
	}

	chat, err := dynamic.NewClient[text, length](w.conn, "shop.Shop/Chat")
	require.NoError(t, err)
	stream, err := chat.OpenStream(t.Context())
	require.NoError(t, err)
	require.NoError(t, stream.Send(wrapperspb.String("hi")))
	assert.Equal(t, int64(6), requireSoon(t, stream.Channel(), "answer").GetValue())
	require.NoError(t, stream.Close(nil))
}

// A server declines a request if the affinity is negative. This works for affinity functions with
// and without a context.
func TestHandlersOf_Affinity(t *testing.T) {
	t.Parallel()
	w := newShopWorld(t)
	_, err := w.server.Register(w.service, dynamic.HandlersOf(&shop{factor: -1}))
	require.NoError(t, err)
	for _, method := range []string{"Bake", "Taste"} {
		_, err := w.sell(t, method, "bread")
		require.NoError(t, err)
		_, err = w.sell(t, method, "b")
		requireCode(t, errors.Unavailable, err)
		facts, ok := errors.FactsOf(err)
		require.True(t, ok)
		assert.Len(t, facts.Declined, 1, method)
	}
	chat, err := dynamic.NewClient[text, length](w.conn, "shop.Shop/Chat")
	require.NoError(t, err)
	_, err = chat.OpenStream(t.Context(), dynamic.WithSelectionOpts(dynamic.SelectionOpts{AffinityTimeout: 100 * time.Millisecond}))
	requireCode(t, errors.Unavailable, err)
}

// Interceptors may replace the request and the response by messages of other Go types.
func TestHandlersOf_Interceptors(t *testing.T) {
	t.Parallel()
	convert := func(ctx context.Context, request proto.Message, _ dynamic.RPCInfo, handler dynamic.ServerRPCHandler) (proto.Message, error) {
		return handler(ctx, wrapperspb.String(request.(text).GetValue()+"!"))
	}
	w := newShopWorld(t, dynamic.WithServerRPCInterceptors(convert))
	_, err := w.server.Register(w.service, dynamic.HandlersOf(&shop{factor: 1}))
	require.NoError(t, err)
	sold, err := w.sell(t, "Sell", "bread")
	require.NoError(t, err)
	assert.Equal(t, int64(6), sold)
}

// valueShop is passed to HandlersOf as a value, not as a pointer. Its own method has a value
// receiver. The other methods are those of the embedded shop.
type valueShop struct {
	*shop

	answer int64
}

func (s valueShop) Sell(context.Context, text) (length, error) {
	return wrapperspb.Int64(s.answer), nil
}

func TestHandlersOf_ValuesAndEmbedding(t *testing.T) {
	t.Parallel()
	w := newShopWorld(t)
	_, err := w.server.Register(w.service, dynamic.HandlersOf(valueShop{&shop{factor: 2}, 42}))
	require.NoError(t, err)
	sold, err := w.sell(t, "Sell", "bread")
	require.NoError(t, err)
	assert.Equal(t, int64(42), sold)
	sold, err = w.sell(t, "Bake", "bread")
	require.NoError(t, err)
	assert.Equal(t, int64(10), sold)
}

// The map that HandlersOf returns can be changed before it is passed to Register.
func TestHandlersOf_Changed(t *testing.T) {
	t.Parallel()
	w := newShopWorld(t)
	handlers := dynamic.HandlersOf(&shop{factor: 1})
	handlers["Sell"] = dynamic.Unary(func(context.Context, text) (length, error) { return wrapperspb.Int64(7), nil })
	handlers["restock_all"] = handlers["Sell"]
	delete(handlers, "Bake")
	_, err := w.server.Register(w.service, handlers, dynamic.AllowMissing())
	require.NoError(t, err)
	sold, err := w.sell(t, "Sell", "bread")
	require.NoError(t, err)
	assert.Equal(t, int64(7), sold)
	_, err = w.sell(t, "Bake", "bread")
	requireCode(t, errors.Unimplemented, err)
}

// badShop has one mistake of each kind that Register reports.
type badShop struct {
	dynamic.ServerStream[text, text]
}

func (badShop) Sell(context.Context, length) (text, error)     { return nil, errors.ErrUnimplemented }
func (badShop) RestockAll(text) length                         { return nil }
func (badShop) Bake(context.Context, text) (length, error)     { return nil, errors.ErrUnimplemented }
func (badShop) Taste(context.Context, text) (length, error)    { return nil, errors.ErrUnimplemented }
func (badShop) TasteAffinity(context.Context, text) float64    { return 0 }
func (badShop) Chat(dynamic.ServerStream[text, length]) error  { return nil }
func (badShop) ChatAffinity() float32                          { return 0 }
func (badShop) Branche(context.Context, text) (length, error)  { return nil, errors.ErrUnimplemented }
func (badShop) BranchAffinity(context.Context, text) float32   { return 0 }
func (badShop) BrAnchesAffinity(context.Context, text) float32 { return 0 }
func (badShop) Branches(context.Context, proto.Message) (length, error) {
	return nil, errors.ErrUnimplemented
}
func (badShop) Tour(badStream) error                         { return nil }
func (badShop) Offers(context.Context, text) (length, error) { return nil, errors.ErrUnimplemented }

// badStream embeds a ServerStream, but is itself another type, which handlers cannot use.
type badStream interface {
	dynamic.ServerStream[length, text]
	Extra()
}

func TestHandlersOf_AllProblemsTogether(t *testing.T) {
	t.Parallel()
	w := newShopWorld(t)
	const (
		call   = "func(context.Context, *wrapperspb.StringValue) (*wrapperspb.Int64Value, error)"
		stream = "func(dynamic.ServerStream[*wrapperspb.Int64Value, *wrapperspb.StringValue]) error"
		fit    = "the handler does not fit: (dynamic_test.badShop)."
	)
	problems := w.register(t, dynamic.HandlersOf(badShop{}))
	var got []string
	for _, problem := range problems {
		// The names of generic types contain the import path of the messages.
		problem = strings.ReplaceAll(problem, "google.golang.org/protobuf/types/known/", "")
		got = append(got, strings.TrimPrefix(problem, "service shop.Shop, method "))
	}
	assert.ElementsMatch(t, []string{
		"Sell: " + fit + "Sell: want " + call + ": request type: wanted message google.protobuf.StringValue, given " +
			"*wrapperspb.Int64Value, which is message google.protobuf.Int64Value; response type: wanted message " +
			"google.protobuf.Int64Value, given *wrapperspb.StringValue, which is message google.protobuf.StringValue",
		"restock_all: " + fit + "RestockAll: want " + call + ", have func(*wrapperspb.StringValue) *wrapperspb.Int64Value",
		"Bake: " + fit + "Bake: the method has AFFINITY routing: " +
			"add the method BakeAffinity(context.Context, *wrapperspb.StringValue) float32",
		"Taste: " + fit + "Taste: TasteAffinity: want func(context.Context, *wrapperspb.StringValue) float32, " +
			"have func(context.Context, *wrapperspb.StringValue) float64",
		"Chat: " + fit + "Chat: want " + stream + ": type of received messages: wanted message google.protobuf.StringValue, " +
			"given *wrapperspb.Int64Value, which is message google.protobuf.Int64Value",
		"Branche: dynamic_test.badShop has a method with the signature of a handler, but there is no such method; " +
			"did you mean Branch?",
		"Branch: dynamic_test.badShop has no method Branch(context.Context, *wrapperspb.StringValue) " +
			"(*wrapperspb.Int64Value, error); add it, or use dynamic.AllowMissing()",
		"BranchAffinity: dynamic_test.badShop has an affinity function for Branch, which has queue routing: " +
			"set (psrpc.options).type = AFFINITY, or remove the function",
		"BrAnchesAffinity: dynamic_test.badShop has an affinity function for BrAnches, but there is no such method; " +
			"did you mean Branches?",
		"Branches: " + fit + "Branches: want " + call + ", have func(context.Context, protoreflect.ProtoMessage) " +
			"(*wrapperspb.Int64Value, error)",
		"Tour: " + fit + "Tour: want " + stream + ", have func(dynamic_test.badStream) error",
		"Offers: " + fit + "Offers: a subscription has no handler; updates are sent with Registration.Publish: " +
			"rename the Go method",
	}, got)
	assert.Nil(t, w.register(t, dynamic.HandlersOf(&shop{})), "nothing is left of the first try")
}

func TestHandlersOf_NoImplementation(t *testing.T) {
	t.Parallel()
	w := newShopWorld(t)
	for want, handlers := range map[string]dynamic.Handlers{
		"dynamic.HandlersOf: the implementation is nil":                                                           dynamic.HandlersOf(nil),
		"dynamic.HandlersOf: the implementation is a nil *dynamic_test.shop":                                      dynamic.HandlersOf((*shop)(nil)),
		"dynamic.HandlersOf: the methods of dynamic_test.shop have a pointer receiver: pass a *dynamic_test.shop": dynamic.HandlersOf(shop{}),
		"dynamic.HandlersOf: struct {} has no exported methods":                                                   dynamic.HandlersOf(struct{}{}),
		"dynamic.HandlersAs[*dynamic_test.shop]: the type argument is not an interface":                           dynamic.HandlersAs(&shop{}),
	} {
		assert.Equal(t, []string{"service shop.Shop: " + want}, w.register(t, handlers))
	}
}

// seller is an interface with some methods of the service. twoShops also has a handler that belongs
// to another service.
type (
	seller interface {
		Sell(ctx context.Context, request text) (length, error)
		Bake(ctx context.Context, request text) (length, error)
		BakeAffinity(request text) float32
	}
	twoShops struct{ *shop }
)

func (twoShops) OfAnotherService(context.Context, text) (text, error) {
	return nil, errors.ErrUnimplemented
}

func TestHandlersAs_OnlyTheInterface(t *testing.T) {
	t.Parallel()
	w := newShopWorld(t)
	impl := twoShops{&shop{factor: 1}}
	problems := w.register(t, dynamic.HandlersOf(impl))
	require.Len(t, problems, 1)
	assert.Contains(t, problems[0], "method OfAnotherService: dynamic_test.twoShops has a method with the signature of a handler")

	_, err := w.server.Register(w.service, dynamic.HandlersAs[seller](impl), dynamic.AllowMissing())
	require.NoError(t, err)
	sold, err := w.sell(t, "Bake", "bread")
	require.NoError(t, err)
	assert.Equal(t, int64(5), sold)
	_, err = w.sell(t, "Taste", "bread")
	requireCode(t, errors.Unimplemented, err)
}

// If the handlers are passed as a map, affinity functions may be missing. Register then logs one
// warning, or returns an error if RequireAffinity is used.
func TestRegister_LacksAffinity(t *testing.T) {
	t.Parallel()
	log := &capturedLog{}
	w := newShopWorld(t, dynamic.WithLogger(slog.New(log)))
	impl := &shop{}
	handlers := dynamic.Handlers{
		"Bake": dynamic.Unary(impl.Bake), "Taste": dynamic.Raw(rawIdentity), "Chat": dynamic.Stream(impl.Chat),
		"Sell": dynamic.Unary(impl.Sell),
	}
	assert.Equal(t, []string{
		"service shop.Shop, method Bake: the method has AFFINITY routing, but its handler has no affinity function: " +
			"use dynamic.WithAffinity",
		"service shop.Shop, method Chat: the method has AFFINITY routing, but its handler has no affinity function: " +
			"use dynamic.WithStreamAffinity",
	}, w.register(t, handlers, dynamic.AllowMissing(), dynamic.RequireAffinity()))
	assert.Empty(t, log.all())

	assert.Empty(t, w.register(t, handlers, dynamic.AllowMissing()))
	require.Len(t, log.all(), 1)
	assert.Equal(t, slog.LevelWarn, log.all()[0]["level"])
	assert.Equal(t, []string{"Bake", "Chat"}, log.all()[0]["methods"])

	assert.Empty(t, w.register(t, dynamic.HandlersOf(impl), dynamic.RequireAffinity()))
	assert.Len(t, log.all(), 1)
}
