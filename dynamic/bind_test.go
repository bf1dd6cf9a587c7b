package dynamic_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

type (
	city   string
	street string
)

// shopOffers contains some of the fields of shopClient, which embeds it.
type shopOffers struct {
	SubscribeOffers     dynamic.SubscribeFunc[length]
	SubscribeCityOffers dynamic.TopicSubscribeFunc[city, length]
}

// shopClient has a field for each method of shop.Shop.
type shopClient struct {
	shopOffers

	Sell       dynamic.UnaryFunc[text, length]
	RestockAll dynamic.MultiFunc[text, length]
	Bake       *dynamic.Client[text, length]
	Taste      dynamic.UnaryFunc[text, dyn]
	Chat       dynamic.StreamFunc[text, length]
	Branch     dynamic.TopicUnaryFunc[city, text, length]
	Branches   dynamic.Topic2MultiFunc[city, street, text, length]
	Tour       dynamic.TopicStreamFunc[string, text, length]

	Name string // not bound
	note string
}

func newShopClient(t testing.TB, w shopWorld) (client shopClient) {
	t.Helper()
	client.Name, client.note = "our shop", "unchanged"
	require.NoError(t, dynamic.Bind(w.conn, "shop.Shop", &client))
	assert.Equal(t, []string{"our shop", "unchanged"}, []string{client.Name, client.note})
	return client
}

func TestBind_EveryKind(t *testing.T) {
	t.Parallel()
	w := newShopWorld(t)
	registration, err := w.server.Register(w.service, dynamic.HandlersOf(&shop{factor: 3}))
	require.NoError(t, err)
	require.NoError(t, registration.RegisterTopic("Branch", "Rome"))
	require.NoError(t, registration.RegisterTopic("Branches", "Rome", "Via Appia"))
	require.NoError(t, registration.RegisterTopic("Tour", "Rome"))
	client := newShopClient(t, w)
	ctx, request := t.Context(), wrapperspb.String("bread")

	requireLength := func(response length, err error) {
		t.Helper()
		require.NoError(t, err)
		assert.Equal(t, int64(15), response.GetValue())
	}
	requireMulti := func(responses <-chan *dynamic.Response[length], err error) {
		t.Helper()
		require.NoError(t, err)
		response := requireSoon(t, responses, "response")
		requireLength(response.Result, response.Err)
	}
	requireStream := func(stream dynamic.ClientStream[text, length], err error) {
		t.Helper()
		require.NoError(t, err)
		require.NoError(t, stream.Send(request))
		requireLength(requireSoon(t, stream.Channel(), "answer"), stream.Close(nil))
	}
	requireLength(client.Sell(ctx, request))
	requireLength(client.Bake.Call(ctx, request))
	requireLength(client.Branch(ctx, "Rome", request))
	requireMulti(client.RestockAll(ctx, request))
	requireMulti(client.Branches(ctx, "Rome", "Via Appia", request))
	requireStream(client.Chat(ctx))
	requireStream(client.Tour(ctx, "Rome"))
	_, err = client.Branch(ctx, "Oslo", request)
	requireCode(t, errors.Unavailable, err)

	offers, err := client.SubscribeOffers(ctx)
	require.NoError(t, err)
	cityOffers, err := client.SubscribeCityOffers(ctx, "Rome")
	require.NoError(t, err)
	require.NoError(t, registration.Publish(ctx, "Offers", wrapperspb.Int64(15)))
	require.NoError(t, registration.Publish(ctx, "CityOffers", wrapperspb.Int64(1), dynamic.WithTopic("Oslo")))
	require.NoError(t, registration.Publish(ctx, "CityOffers", wrapperspb.Int64(15), dynamic.WithTopic("Rome")))
	requireLength(requireSoon(t, offers.Channel(), "update"), offers.Close())
	requireLength(requireSoon(t, cityOffers.Channel(), "update of Rome"), cityOffers.Close())
}

// TestBind_TopicFunctions covers the function types that no other test uses: the types for topics
// with two parts, and the type for multi calls with a topic.
func TestBind_TopicFunctions(t *testing.T) {
	t.Parallel()
	const source = `
syntax = "proto3";
package topics;
import "options.proto";
import "google/protobuf/wrappers.proto";
service Topics {
  rpc Multi(google.protobuf.StringValue) returns (google.protobuf.Int64Value) {
    option (psrpc.options) = { topics: true type: MULTI };
  }
  rpc Unary2(google.protobuf.StringValue) returns (google.protobuf.Int64Value) {
    option (psrpc.options) = { topics: true topic_params: { names: "city" names: "street" } };
  }
  rpc Stream2(google.protobuf.StringValue) returns (google.protobuf.Int64Value) {
    option (psrpc.options) = { topics: true topic_params: { names: "city" names: "street" } stream: true };
  }
  rpc Updates2(google.protobuf.StringValue) returns (google.protobuf.Int64Value) {
    option (psrpc.options) = { topics: true topic_params: { names: "city" names: "street" } subscription: true };
  }
}`
	w := newWorldOn(t, bus.NewLocal())
	w.registry = newRegistry(t, source)
	conn, err := dynamic.NewConn(w.bus, w.registry, patientConn)
	require.NoError(t, err)
	defer conn.Close()
	var client struct {
		Multi             dynamic.TopicMultiFunc[city, text, length]
		Unary2            dynamic.Topic2UnaryFunc[city, street, text, length]
		Stream2           dynamic.Topic2StreamFunc[city, street, text, length]
		SubscribeUpdates2 dynamic.Topic2SubscribeFunc[city, street, length]
	}
	require.NoError(t, dynamic.Bind(conn, "topics.Topics", &client))

	impl := &shop{factor: 1}
	registration, err := w.server.Register(descriptor(t, w.registry, "topics.Topics"), dynamic.Handlers{
		"Multi": dynamic.Unary(impl.Sell), "Unary2": dynamic.Unary(impl.Sell), "Stream2": dynamic.Stream(impl.Chat),
	})
	require.NoError(t, err)
	require.NoError(t, registration.RegisterTopic("Multi", "Rome"))
	require.NoError(t, registration.RegisterTopic("Unary2", "Rome", "Via Appia"))
	require.NoError(t, registration.RegisterTopic("Stream2", "Rome", "Via Appia"))
	responses, err := client.Multi(t.Context(), "Rome", wrapperspb.String("bread"))
	require.NoError(t, err)
	assert.Equal(t, int64(5), requireSoon(t, responses, "response").Result.GetValue())
	response, err := client.Unary2(t.Context(), "Rome", "Via Appia", wrapperspb.String("bun"))
	require.NoError(t, err)
	assert.Equal(t, int64(3), response.GetValue())
	_, err = client.Unary2(t.Context(), "Via Appia", "Rome", wrapperspb.String("bun"))
	requireCode(t, errors.Unavailable, err)
	stream, err := client.Stream2(t.Context(), "Rome", "Via Appia")
	require.NoError(t, err)
	require.NoError(t, stream.Close(nil))
	updates, err := client.SubscribeUpdates2(t.Context(), "Rome", "Via Appia")
	require.NoError(t, err)
	require.NoError(t, registration.Publish(t.Context(), "Updates2", wrapperspb.Int64(4), dynamic.WithTopic("Rome", "Via Appia")))
	assert.Equal(t, int64(4), requireSoon(t, updates.Channel(), "update").GetValue())
	require.NoError(t, updates.Close())
}

// TestBind_Fake checks that the fields can be set to fake functions, as users do in their own
// tests.
func TestBind_Fake(t *testing.T) {
	t.Parallel()
	client := shopClient{Sell: func(_ context.Context, request text, _ ...dynamic.RequestOption) (length, error) {
		return wrapperspb.Int64(int64(len(request.GetValue()))), nil
	}}
	response, err := client.Sell(t.Context(), wrapperspb.String("fake"))
	require.NoError(t, err)
	assert.Equal(t, int64(4), response.GetValue())
}

type badOffers struct{ Offers dynamic.SubscribeFunc[length] }

// badShopClient has one mistake of each kind that Bind reports.
type badShopClient struct {
	*badOffers

	Sell            dynamic.UnaryFunc[length, text]
	RestockAll      dynamic.UnaryFunc[text, length]
	Restock_all     dynamic.MultiFunc[text, length]
	Bake            func(ctx context.Context, request text) (length, error)
	taste           dynamic.UnaryFunc[text, length] //nolint:unused // found by reflection
	Branch          dynamic.UnaryFunc[text, length]
	Brances         *dynamic.Client[text, length]
	SubscribeSell   dynamic.SubscribeFunc[length]
	SubscribeOffers dynamic.SubscribeFunc[length]
	Chat            dynamic.TopicStreamFunc[string, text, length]
}

func TestBind_AllProblemsTogether(t *testing.T) {
	t.Parallel()
	w := newShopWorld(t)
	client := badShopClient{Sell: nil}
	err := dynamic.Bind(w.conn, "shop.Shop", &client)
	requireCode(t, errors.InvalidArgument, err)
	var got []string
	for problem := range strings.Lines(err.Error()) {
		got = append(got, strings.TrimPrefix(strings.TrimSpace(problem), "service shop.Shop, field "))
	}
	const (
		of      = " of dynamic_test.badShopClient: "
		types   = "[*wrapperspb.StringValue, *wrapperspb.Int64Value]"
		topics  = "[string, *wrapperspb.StringValue, *wrapperspb.Int64Value]"
		topics2 = "[string, string, *wrapperspb.StringValue, *wrapperspb.Int64Value]"
		missing = "the method has no field: add one of type dynamic."
		allow   = ", or use dynamic.AllowMissingFields()"
	)
	assert.ElementsMatch(t, []string{
		"Offers" + of + "it is in an embedded pointer that is nil: set the pointer, or embed the struct itself",
		"Sell" + of + "client of shop.Shop/Sell: request type: wanted message google.protobuf.StringValue, given " +
			"*wrapperspb.Int64Value, which is message google.protobuf.Int64Value: use dynamic.UnaryFunc" + types,
		"RestockAll" + of + "the method is a multi call, not a single call: use dynamic.MultiFunc" + types,
		"Restock_all" + of + "there is no such method; did you mean RestockAll?",
		"Bake" + of + "a func(context.Context, *wrapperspb.StringValue) (*wrapperspb.Int64Value, error) cannot be bound: " +
			"use dynamic.UnaryFunc" + types,
		"taste" + of + "the field is not exported, so it cannot be set: rename it",
		"Branch" + of + "the method takes a topic of one part, but the function takes no topic: use dynamic.TopicUnaryFunc" + topics,
		"Brances" + of + "there is no such method; did you mean Branches?",
		"SubscribeSell" + of + "there is no such method",
		"SubscribeOffers" + of + "method Offers has another field, too: remove one of them",
		"Chat" + of + "the method takes no topic, but the function takes a topic of one part: use dynamic.StreamFunc" + types,
		"Taste" + of + missing + "UnaryFunc" + types + allow,
		"Branches" + of + missing + "Topic2MultiFunc" + topics2 + allow,
		"Tour" + of + missing + "TopicStreamFunc" + topics + allow,
		"CityOffers" + of + missing + "TopicSubscribeFunc[string, *wrapperspb.Int64Value]" + allow,
	}, got)
	assert.Zero(t, client, "no field is set")
}

// The errors must not contain the type of an anonymous struct, because it lists all fields of the
// struct.
func TestBind_StructWithoutName(t *testing.T) {
	t.Parallel()
	w := newShopWorld(t)
	var client struct {
		Bake func()
	}
	err := dynamic.Bind(w.conn, "shop.Shop", &client, dynamic.AllowMissingFields())
	assert.ErrorContains(t, err, "service shop.Shop, field Bake of the struct: a func() cannot be bound")
}

func TestBind_BadArguments(t *testing.T) {
	t.Parallel()
	w := newShopWorld(t)
	var client struct {
		Sell dynamic.UnaryFunc[text, length]
	}
	require.NoError(t, dynamic.Bind(w.conn, "shop.Shop", &client, dynamic.AllowMissingFields()))
	assert.NotNil(t, client.Sell)
	for _, target := range []any{nil, client, new(int), (*shopClient)(nil), &[]int{}} {
		requireCode(t, errors.InvalidArgument, dynamic.Bind(w.conn, "shop.Shop", target))
	}
	requireCode(t, errors.InvalidArgument, dynamic.Bind(nil, "shop.Shop", &client))
	err := dynamic.Bind(w.conn, "shop.Shup", &client)
	requireCode(t, errors.Unimplemented, err)
	assert.Contains(t, err.Error(), "in the conn's registry, service shop.Shup is not registered; did you mean shop.Shop?")
	require.NoError(t, w.conn.Close())
	assert.ErrorIs(t, dynamic.Bind(w.conn, "shop.Shop", &client, dynamic.AllowMissingFields()), errors.ErrClientClosed)
}
