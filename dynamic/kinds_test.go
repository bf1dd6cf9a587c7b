package dynamic_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

const kindsSource = `
syntax = "proto3";
package kinds;
import "options.proto";
import "google/protobuf/wrappers.proto";

service Fleet {
  rpc Best(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).type = AFFINITY;
  }
  rpc All(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).type = MULTI;
  }
  rpc Region(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).topics = true;
    option (psrpc.options).topic_params = { group: "place" names: "region" };
  }
  rpc RegionAll(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).topics = true;
    option (psrpc.options).topic_params = { group: "place" names: "region" };
    option (psrpc.options).type = MULTI;
  }
  rpc Jobs(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).subscription = true;
  }
  rpc News(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).subscription = true;
    option (psrpc.options).type = MULTI;
  }
}
`

// fleet is a group of servers that serve kinds.Fleet on one bus, with a conn that calls them.
type fleet struct {
	conn     *dynamic.Conn
	servers  []*dynamic.Server
	services []*dynamic.Registration
	scores   []atomic.Int64
}

func newFleet(t testing.TB, size int) *fleet {
	t.Helper()
	b := bus.NewLocal()
	reg := newRegistry(t, kindsSource)
	f := &fleet{scores: make([]atomic.Int64, size)}
	for i := range size {
		server := dynamic.NewServer(b, dynamic.WithServerID(fmt.Sprint("SRV_", i)))
		answer := func(context.Context, text) (text, error) { return wrapperspb.String(server.ID()), nil }
		affinity := func(context.Context, text) float32 { return float32(f.scores[i].Load()) }
		service, err := server.Register(descriptor(t, reg, "kinds.Fleet"), dynamic.Handlers{
			"Best":      dynamic.Unary(answer, dynamic.WithAffinity(affinity)),
			"All":       dynamic.Unary(answer),
			"Region":    dynamic.Unary(answer),
			"RegionAll": dynamic.Unary(answer),
		})
		require.NoError(t, err)
		f.servers, f.services = append(f.servers, server), append(f.services, service)
		f.scores[i].Store(int64(i + 1))
	}
	var err error
	f.conn, err = dynamic.NewConn(b, reg, patientConn)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, f.conn.Close())
		for _, server := range f.servers {
			require.NoError(t, server.Shutdown(context.Background()))
		}
		require.NoError(t, b.Close())
	})
	return f
}

func (f *fleet) call(t *testing.T, method string, opts ...dynamic.RequestOption) (string, error) {
	t.Helper()
	answer, err := textClient(t, f.conn, "kinds.Fleet/"+method).Call(t.Context(), wrapperspb.String("x"), opts...)
	return answer.GetValue(), err
}

func reasonOf(t *testing.T, err error) errors.Reason {
	t.Helper()
	facts, ok := errors.FactsOf(err)
	require.True(t, ok, "%v", err)
	return facts.Reason
}

func TestAffinity_BestServerEachTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3)
		for range 100 {
			server, err := f.call(t, "Best")
			require.NoError(t, err)
			require.Equal(t, "SRV_2", server)
		}
		f.scores[0].Store(10)
		server, err := f.call(t, "Best")
		require.NoError(t, err)
		assert.Equal(t, "SRV_0", server)
	})
}

func TestAffinity_DeclinesAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3)
		for i := range f.scores {
			f.scores[i].Store(-1)
		}
		started := time.Now()
		_, err := f.call(t, "Best")
		require.ErrorIs(t, err, errors.ErrNoResponse)
		assert.Equal(t, errors.ReasonAllDeclined, reasonOf(t, err))
		assert.Less(t, time.Since(started), dynamic.DefaultShortCircuitTimeout)

		f.scores[1].Store(1)
		server, err := f.call(t, "Best")
		require.NoError(t, err)
		assert.Equal(t, "SRV_1", server)
	})
}

func TestAffinity_MinimumTellsTheBestScore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 3)
		opts := dynamic.SelectionOpts{MinimumAffinity: 7, AffinityTimeout: 500 * time.Millisecond}
		_, err := f.call(t, "Best", dynamic.WithSelectionOpts(opts))
		assert.ErrorContains(t, err, "no servers available (received 3 responses)")
		facts, _ := errors.FactsOf(err)
		assert.Equal(t, errors.ReasonBelowMinimum, facts.Reason)
		assert.InDelta(t, 3, facts.BestAffinity, 0)
		assert.Len(t, facts.Declined, 3)
	})
}

func TestMulti_EndsWhenAllHaveAnswered(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	client := textClient(t, f.conn, "kinds.Fleet/All")
	for range 50 {
		var servers []string
		for response := range client.Responses(t.Context(), wrapperspb.String("x"), dynamic.WithRequestTimeout(time.Hour)) {
			require.NoError(t, response.Err)
			servers = append(servers, response.ServerID)
		}
		slices.Sort(servers)
		require.Equal(t, []string{"SRV_0", "SRV_1", "SRV_2"}, servers)
	}
	responses, err := client.CallMulti(t.Context(), wrapperspb.String("x"), dynamic.WithRequestTimeout(time.Hour))
	require.NoError(t, err)
	count := 0
	for response := range responses {
		assert.NoError(t, response.Err)
		count++
	}
	assert.Equal(t, 3, count)
}

func TestTopic_OnlyItsServersAnswer(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2)
	_, err := f.call(t, "Region", dynamic.WithTopic("eu"))
	assert.Equal(t, errors.ReasonNobodyListening, reasonOf(t, err))

	require.NoError(t, f.services[0].RegisterTopicGroup("place", "eu"))
	require.NoError(t, f.services[1].RegisterTopic("Region", "us"))
	for topic, want := range map[string]string{"eu": "SRV_0", "us": "SRV_1"} {
		server, err := f.call(t, "Region", dynamic.WithTopic(topic))
		require.NoError(t, err)
		assert.Equal(t, want, server)
		answer, err := textClient(t, f.conn, "kinds.Fleet/Region").Topic(topic).Call(t.Context(), wrapperspb.String("x"))
		require.NoError(t, err)
		assert.Equal(t, want, answer.GetValue())
	}
	assert.ErrorContains(t, f.services[0].RegisterTopic("Region", "eu"), "already registered")
	require.NoError(t, f.services[0].DeregisterTopicGroup("place", "eu"))
	_, err = f.call(t, "Region", dynamic.WithTopic("eu"))
	assert.Equal(t, errors.ReasonNobodyListening, reasonOf(t, err))
	_, err = f.call(t, "Region")
	assert.ErrorContains(t, err, "takes a topic (region): wanted parts 1, given 0")
	_, err = f.call(t, "Best", dynamic.WithTopic("eu"))
	assert.ErrorContains(t, err, "takes no topic")
}

func TestSubscription_Routing(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 1)
	const updates = 50
	var jobs, news [2]dynamic.Subscription[text]
	for i := range 2 {
		var err error
		jobs[i], err = textClient(t, f.conn, "kinds.Fleet/Jobs").Subscribe(t.Context())
		require.NoError(t, err)
		news[i], err = textClient(t, f.conn, "kinds.Fleet/News").Subscribe(t.Context())
		require.NoError(t, err)
	}
	for range updates {
		require.NoError(t, f.services[0].Publish(t.Context(), "Jobs", wrapperspb.String("same")))
		require.NoError(t, dynamic.Publish(t.Context(), f.conn, "kinds.Fleet/News", wrapperspb.String("same")))
	}
	assert.Equal(t, updates, len(jobs[0].Channel())+len(jobs[1].Channel()))
	for _, subscription := range news {
		assert.Len(t, subscription.Channel(), updates)
		require.NoError(t, subscription.Close())
		require.NoError(t, subscription.Err())
	}
	require.NoError(t, f.conn.Close())
	assert.Equal(t, errors.ErrClientClosed, jobs[0].Err())
}

func BenchmarkAffinity(b *testing.B) {
	f := newFleet(b, 3)
	client := textClient(b, f.conn, "kinds.Fleet/Best")
	benchmarkCallers(b, 1, func() error {
		_, err := client.Call(b.Context(), wrapperspb.String("x"))
		return err
	})
}

func BenchmarkMulti(b *testing.B) {
	f := newFleet(b, 3)
	client := textClient(b, f.conn, "kinds.Fleet/All")
	benchmarkCallers(b, 1, func() error {
		for response := range client.Responses(b.Context(), wrapperspb.String("x")) {
			if response.Err != nil {
				return response.Err
			}
		}
		return nil
	})
}

func TestCall_CancelReachesTheHandler(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	handling, ended := make(chan struct{}), make(chan error, 1)
	w.serve(t, dynamic.Handlers{"Echo": dynamic.Unary(func(ctx context.Context, request text) (text, error) {
		close(handling)
		<-ctx.Done()
		ended <- ctx.Err()
		return request, nil
	})})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-handling
		cancel()
	}()
	_, err := textClient(t, w.conn, echo).Call(ctx, wrapperspb.String("x"), dynamic.WithRequestTimeout(time.Hour))
	require.ErrorIs(t, err, context.Canceled)
	select {
	case err := <-ended:
		assert.Equal(t, context.Canceled, err)
	case <-time.After(10 * time.Second):
		assert.Fail(t, "the handler was not told")
	}
}

func TestServer_MaxConcurrentRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	handling, release := make(chan struct{}), make(chan struct{})
	w.serve(t, dynamic.Handlers{
		"Echo": dynamic.Unary(func(_ context.Context, request text) (text, error) {
			handling <- struct{}{}
			<-release
			return request, nil
		}, dynamic.WithMaxConcurrent(1)),
		"Direct": dynamic.Unary(echoHandler),
	})
	client, first := textClient(t, w.conn, echo), make(chan error, 1)
	go func() {
		_, err := client.Call(t.Context(), wrapperspb.String("x"))
		first <- err
	}()
	<-handling
	_, err := client.Call(t.Context(), wrapperspb.String("x"))
	coded, ok := errors.AsType[errors.Error](err)
	require.True(t, ok)
	assert.Equal(t, errors.ResourceExhausted, coded.Code())
	assert.True(t, dynamic.IsUnprocessed(err), "it may be tried again")
	_, err = textClient(t, w.conn, direct).Call(t.Context(), wrapperspb.String("x"))
	require.NoError(t, err, "another method has room")
	close(release)
	require.NoError(t, <-first)
}

func TestConn_Hooks(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	reg := newRegistry(t)
	server := dynamic.NewServer(b)
	t.Cleanup(server.Kill)
	_, err := server.Register(descriptor(t, reg, "test.Echoes"), dynamic.Handlers{"Echo": dynamic.Unary(echoHandler)}, dynamic.AllowMissing())
	require.NoError(t, err)
	var seen []string
	conn, err := dynamic.NewConn(b, reg, patientConn,
		dynamic.WithRequestHooks(func(_ context.Context, request proto.Message, info dynamic.RPCInfo) {
			seen = append(seen, fmt.Sprint(info.Service, " ", info.Method, " ", request.(text).GetValue()))
		}),
		dynamic.WithResponseHooks(func(_ context.Context, _ proto.Message, _ dynamic.RPCInfo, response proto.Message, err error) {
			seen = append(seen, fmt.Sprint(response != nil, " ", err))
		}))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	_, err = textClient(t, conn, echo).Call(t.Context(), wrapperspb.String("hi"))
	require.NoError(t, err)
	_, err = textClient(t, conn, direct).Call(t.Context(), wrapperspb.String("ho"))
	require.ErrorIs(t, err, errors.ErrUnimplemented)
	assert.Equal(t, []string{
		"test.Echoes Echo hi", "true <nil>", "test.Echoes Direct ho", "false method is not implemented (test.Echoes/Direct: server " + server.ID() + ")",
	}, seen)
}

func TestServer_RegisterTakesARegistrysService(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	service, _ := w.registry.Service("test.Echoes")
	handlers := dynamic.Handlers{"Echo": dynamic.Unary(echoHandler)}
	_, err := w.server.Register(service, handlers, dynamic.AllowMissing())
	require.NoError(t, err)
	_, err = textClient(t, w.conn, echo).Call(t.Context(), wrapperspb.String("x"))
	require.NoError(t, err)

	_, err = w.server.Register(service, handlers, dynamic.AllowMissing())
	assert.ErrorContains(t, err, "service test.Echoes is already registered on this server")
	renamed, err := w.server.Register(service, handlers, dynamic.AllowMissing(), dynamic.WithWireName("Other"))
	require.NoError(t, err)
	assert.Equal(t, "Other", renamed.Service().WireName())
	_, err = w.server.Register((*registry.Service)(nil), handlers)
	assert.ErrorContains(t, err, "the service is nil")
}
