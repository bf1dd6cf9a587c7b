package dynamic

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Errors about topics say what is wrong and suggest what to do instead.
func TestRegistration_TopicErrors(t *testing.T) {
	t.Parallel()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"t.proto": {Data: []byte(`syntax = "proto3"; package t;
		import "options.proto"; message M {}
		service Topics {
		  rpc Region(M) returns (M) {
		    option (psrpc.options).topics = true;
		    option (psrpc.options).topic_params = { group: "regional" names: "region" };
		  }
		  rpc Events(M) returns (M) {
		    option (psrpc.options).subscription = true;
		    option (psrpc.options).topics = true;
		    option (psrpc.options).topic_params = { group: "events" names: "region" };
		  }
		  rpc Global(M) returns (M);
		}`)}}, "t.proto"))
	service, _ := reg.Service("t.Topics")
	server := NewServer(bus.NewLocal())
	t.Cleanup(server.Kill)
	r, err := server.Register(service, nil, AllowMissing())
	require.NoError(t, err)

	require.EqualError(t, r.RegisterTopic("Reigon", "eu"),
		"service t.Topics has no method Reigon; did you mean Region?")
	require.EqualError(t, r.RegisterTopic("Global", "eu"), "method t.Topics/Global takes no topic")
	require.EqualError(t, r.RegisterTopic("Events", "eu"),
		"method t.Topics/Events is a subscription: nothing to register; pass the topic to Publish with dynamic.WithTopic")
	require.EqualError(t, r.RegisterTopicGroup("events", "eu"),
		"service t.Topics: all methods of topic group \"events\" are subscriptions: there is nothing to register, "+
			"give the topic to Publish")
	require.EqualError(t, r.RegisterTopicGroup("regionl", "eu"),
		`service t.Topics: no topic group "regionl"; groups: events, regional`)
	require.EqualError(t, r.DeregisterTopicGroup("regional", "eu"),
		`method t.Topics/Region: topic ["eu"] is not registered`)
}
