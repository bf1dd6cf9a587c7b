package dynamic_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// A server and a conn must refuse topics with empty parts, unless they use AllowEmptyTopicParts.
func TestTopic_EmptyParts(t *testing.T) {
	t.Parallel()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"a.proto": {Data: []byte(`syntax = "proto3"; package empty;
		import "options.proto"; import "google/protobuf/wrappers.proto";
		service Rooms {
		  rpc Enter(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
		    option (psrpc.options) = { topics: true topic_params: { names: ["region", "room"] } };
		  }
		  rpc News(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
		    option (psrpc.options) = { topics: true subscription: true };
		  }
		}`)}}, "a.proto"))
	for _, options := range [][]dynamic.Option{nil, {dynamic.AllowEmptyTopicParts()}} {
		b := bus.NewLocal()
		var serverOptions []dynamic.ServerOption
		connOptions := []dynamic.ConnOption{patientConn}
		for _, option := range options {
			serverOptions, connOptions = append(serverOptions, option), append(connOptions, option)
		}
		server := dynamic.NewServer(b, serverOptions...)
		service, err := server.Register(descriptor(t, reg, "empty.Rooms"), dynamic.Handlers{"Enter": dynamic.Unary(echoHandler)})
		require.NoError(t, err)
		conn, err := dynamic.NewConn(b, reg, connOptions...)
		require.NoError(t, err)
		rooms, news := textClient(t, conn, "empty.Rooms/Enter"), textClient(t, conn, "empty.Rooms/News")
		say := wrapperspb.String("x")

		registered := service.RegisterTopic("Enter", "", "7")
		_, called := rooms.Topic("", "7").Call(t.Context(), say)
		deregistered := service.DeregisterTopic("Enter", "", "7")
		subscription, subscribed := news.Subscribe(t.Context(), dynamic.WithTopic(""))
		published := service.Publish(t.Context(), "News", say, dynamic.WithTopic(""))
		publishedByConn := dynamic.Publish(t.Context(), conn, "empty.Rooms/News", say, dynamic.WithTopic(""))
		for _, err := range []error{registered, called, deregistered, subscribed, published, publishedByConn} {
			if len(options) > 0 {
				require.NoError(t, err)
				continue
			}
			requireCode(t, errors.InvalidArgument, err)
			require.ErrorContains(t, err, "part 1 of the topic is empty")
		}
		if subscribed == nil {
			assert.Equal(t, "x", (<-subscription.Channel()).GetValue())
		}
		require.NoError(t, conn.Close())
		require.NoError(t, server.Shutdown(t.Context()))
		require.NoError(t, b.Close())
	}
}
