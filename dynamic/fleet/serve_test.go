package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const shopSource = `
syntax = "proto3";
package shop;
import "options.proto";
import "google/protobuf/wrappers.proto";

// Orders can be asked for.
service Orders {
  rpc Get(google.protobuf.StringValue) returns (google.protobuf.StringValue);
  rpc Near(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options) = { type: AFFINITY topics: true topic_params: { names: ["country", "city"] } };
  }
  rpc Placed(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).subscription = true;
  }
}
`

// served is a server for which Serve was called, and a conn that queries it.
type served struct {
	bus    bus.Bus
	server *dynamic.Server
	conn   *dynamic.Conn
	shop   *registry.Registry
	status *Status
	orders *dynamic.Registration
}

// shopRegistry returns a registry with the service shop.Orders. Its descriptors contain extra.
func shopRegistry(t testing.TB, extra string) *registry.Registry {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"shop.proto": {Data: []byte(shopSource + extra)}}, "shop.proto"))
	return reg
}

func newServed(t testing.TB, opts ...ServeOption) *served {
	t.Helper()
	b := bus.NewLocal()
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return newServedOn(t, b, opts...)
}

func newServedOn(t testing.TB, b bus.Bus, opts ...ServeOption) *served {
	t.Helper()
	s := &served{bus: b, shop: shopRegistry(t, "")}
	s.server = dynamic.NewServer(b, dynamic.WithServerID("SRV_shop"), dynamic.WithLogger(slog.New(slog.DiscardHandler)),
		dynamic.WithMaxConcurrentRequests(2))
	s.orders = s.register(t)
	reg := registry.New()
	_, err := reg.Register(fleetService().Descriptor())
	require.NoError(t, err)
	_, err = reg.Register(ordersOf(t, s.shop).Descriptor())
	require.NoError(t, err)
	s.conn, err = dynamic.NewConn(b, reg, patientConn)
	require.NoError(t, err)
	patient := func(o *serveOptions) { o.bounds = serveBounds{longWait, longWait, longWait} }
	s.status, err = Serve(s.server, append([]ServeOption{patient}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, s.conn.Close())
		require.NoError(t, s.status.Close())
		require.NoError(t, s.server.Shutdown(context.Background()))
	})
	return s
}

func ordersOf(t testing.TB, reg *registry.Registry) *registry.Service {
	t.Helper()
	orders, err := reg.FindService("shop.Orders")
	require.NoError(t, err)
	return orders
}

// TestServe_OnEachBus checks, on each kind of bus, that a Fleet receives everything that a server
// reports.
func TestServe_OnEachBus(t *testing.T) {
	t.Parallel()
	for name, network := range networks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connect := network(t)
			s := newServedOn(t, connect())
			f := newFleet(t, connect())
			changes := s.listen(t)
			require.NoError(t, s.get(t, "hi"))
			servers, failures := collect(t, f, Parts(PartStats, PartHealth, PartBus, PartRuntime))
			require.Empty(t, failures)
			require.Len(t, servers, 1)
			told := servers["SRV_shop"]
			assert.Equal(t, uint64(1), told.Services[0].Methods[0].Stats.CallsOK)
			assert.True(t, told.Bus.Connected)
			if _, informed := s.bus.(bus.Informed); informed {
				assert.Equal(t, name, told.Bus.Kind)
				assert.Equal(t, name != "local", told.Bus.RTT > 0)
			}
			reg, err := f.Registry(t.Context(), "shop.Orders")
			require.NoError(t, err)
			ordersOf(t, reg)
			_, err = s.orders.Replace(ordersOf(t, shopRegistry(t, "message More {}")), orderHandlers(), dynamic.AllowMissing())
			require.NoError(t, err)
			requireChange(t, changes, ChangeReplaced)
			require.NoError(t, s.server.Shutdown(t.Context()))
			requireChange(t, changes, ChangeDraining)
			requireChange(t, changes, ChangeStopped)
			servers, _ = collect(t, f)
			assert.Empty(t, servers)
		})
	}
}

// orderHandlers returns handlers for shop.Orders.
func orderHandlers() dynamic.Handlers {
	return dynamic.Handlers{
		"Get": dynamic.Unary(func(_ context.Context, request *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			switch request.GetValue() {
			case "lost":
				return nil, errors.NewErrorf(errors.NotFound, "no order for %s", strings.Repeat("é", 200))
			case "panic":
				panic("oh")
			}
			return request, nil
		}, dynamic.WithMaxConcurrent(9)),
	}
}

// register registers shop.Orders without a handler for the method Near.
func (s *served) register(t testing.TB) *dynamic.Registration {
	t.Helper()
	orders, err := s.server.Register(ordersOf(t, s.shop), orderHandlers(), dynamic.AllowMissing())
	require.NoError(t, err)
	return orders
}

// ask queries the servers of a scope and returns their answers.
func (s *served) ask(t testing.TB, scope string, request queryRequest) (answers []*Server) {
	t.Helper()
	client, err := dynamic.NewClient[*dynamicpb.Message, *dynamicpb.Message](s.conn, fleetServiceName+"/Query")
	require.NoError(t, err)
	for response := range client.Topic(scope).Responses(t.Context(), toMessage(&request)) {
		if response.ServerID == "" {
			requireCode(t, errors.Unavailable, response.Err, "nobody listens")
			return nil
		}
		require.NoError(t, response.Err)
		answers = append(answers, fromMessage[Server](response.Result))
	}
	return answers
}

// askOne returns some parts of the server's answer.
func (s *served) askOne(t testing.TB, parts ...Part) *Server {
	t.Helper()
	answers := s.ask(t, scopeAll, queryRequest{Parts: parts})
	require.Len(t, answers, 1)
	return answers[0]
}

// get calls shop.Orders/Get.
func (s *served) get(t testing.TB, order string) error {
	t.Helper()
	client, err := dynamic.NewClient[*wrapperspb.StringValue, *wrapperspb.StringValue](s.conn, "shop.Orders/Get")
	require.NoError(t, err)
	_, err = client.Call(t.Context(), wrapperspb.String(order))
	return err
}

func TestServe_TellsWhoTheServerIs(t *testing.T) {
	t.Parallel()
	s := newServed(t, WithApp("shop", "1.4.2"), WithLabels(map[string]string{"region": "eu"}), nil)
	for _, scope := range []string{"all", shardScope(shardOf("SRV_shop")), "service_Orders", "server_SRV_shop"} {
		answers := s.ask(t, scope, queryRequest{})
		require.Len(t, answers, 1, scope)
		answer := answers[0]
		assert.Equal(t, "SRV_shop", answer.ID)
		assert.Equal(t, "shop", answer.App)
		assert.Equal(t, "1.4.2", answer.AppVersion)
		assert.Equal(t, map[string]string{"region": "eu"}, answer.Labels)
		assert.Equal(t, StateServing, answer.State)
		assert.Equal(t, uint32(1), answer.API)
		assert.Contains(t, answer.Software, "dynpsrpc v"+dynamic.Version)
		assert.False(t, answer.Started.After(answer.Now))
		assert.Empty(t, answer.Services)
		assert.Empty(t, answer.Health)
		assert.Nil(t, answer.Bus)
		assert.Nil(t, answer.Runtime)
	}
	assert.Empty(t, s.ask(t, "service_Other", queryRequest{}))
	all := s.askOne(t, PartHealth, PartBus, PartRuntime, PartPlugins)
	assert.Equal(t, StatusServing, all.Health.Status)
	assert.True(t, all.Bus.Connected)
	assert.Positive(t, all.Runtime.Goroutines)
	assert.Positive(t, all.Runtime.HeapBytes)
	assert.NotEmpty(t, all.Runtime.OS)
}

func TestServe_TellsServices(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	require.NoError(t, s.orders.RegisterTopic("Near", "de", "Berlin"))
	other, err := s.server.Register(ordersOf(t, s.shop), orderHandlers(), dynamic.AllowMissing(), dynamic.WithWireName("Old"))
	require.NoError(t, err)
	t.Cleanup(other.Kill)

	answers := s.ask(t, scopeAll, queryRequest{Parts: []Part{PartServices}, Services: []string{"Orders"}})
	require.Len(t, answers, 1)
	require.Len(t, answers[0].Services, 1)
	orders := answers[0].Services[0]
	digest, err := DigestOf(ordersOf(t, s.shop).Descriptor())
	require.NoError(t, err)
	assert.Equal(t, Service{Name: "shop.Orders", WireName: "Orders", Digest: digest, Methods: []Method{
		{Name: "Get", WireName: "Get", Kind: registry.KindSingle, Routing: registry.RoutingQueue, RequireClaim: true, MaxConcurrent: 9},
		{
			Name: "Near", WireName: "Near", Kind: registry.KindSingle, Routing: registry.RoutingAffinity, RequireClaim: true,
			TopicParams: []string{"country", "city"}, TopicCount: 1, Unimplemented: true,
		},
		{Name: "Placed", WireName: "Placed", Kind: registry.KindSubscription, Routing: registry.RoutingQueue, RequireClaim: true},
	}}, orders)
	assert.Len(t, s.askOne(t, PartServices).Services, 2)
}

func TestServe_TellsTopicsInPages(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	var want []string
	for i := range 30 {
		city := fmt.Sprintf("city%02d", i)
		require.NoError(t, s.orders.RegisterTopic("Near", "de", city))
		want = append(want, "de|"+city)
	}
	ask := func(request queryRequest) Method {
		request.Parts = []Part{PartTopics}
		answers := s.ask(t, scopeAll, request)
		require.Len(t, answers, 1)
		near := answers[0].Services[0].Methods[1]
		assert.Equal(t, uint32(30), near.TopicCount)
		return near
	}
	assert.Equal(t, want[:20], ask(queryRequest{}).Topics, "20 is the default")
	assert.Equal(t, want[:7], ask(queryRequest{MaxTopics: 7}).Topics)
	assert.Equal(t, want[7:14], ask(queryRequest{MaxTopics: 7, TopicsAfter: want[6]}).Topics)
	assert.Equal(t, want[28:], ask(queryRequest{MaxTopics: 7, TopicsAfter: want[27]}).Topics)
	assert.Equal(t, want, ask(queryRequest{MaxTopics: 1 << 30}).Topics)
	assert.Empty(t, s.askOne(t, PartServices).Services[0].Methods[1].Topics)
}

func TestServe_TruncatesLargeAnswers(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	// The topics of the second method nearly fill an answer. If they were added first, they would
	// leave no room for the third method.
	for i := range 256 {
		padding := 2036
		if i == 0 {
			padding += 390
		}
		require.NoError(t, s.orders.RegisterTopic("Near", "de", strings.Repeat("x", padding)+fmt.Sprintf("%03d", i)))
	}
	answers := s.ask(t, scopeAll, queryRequest{Parts: []Part{PartTopics, PartStats}, MaxTopics: maxTopics})
	require.Len(t, answers, 1)
	assert.True(t, answers[0].Truncated)
	assert.Len(t, answers[0].Services[0].Methods, 3)
	assert.Empty(t, answers[0].Services[0].Methods[1].Topics)
	assert.NotNil(t, answers[0].Services[0].Methods[2].Stats)
	assert.False(t, s.askOne(t, PartTopics).Truncated)
}

// TestServe_Counts checks the counters before and after the service is replaced.
func TestServe_Counts(t *testing.T) {
	t.Parallel()
	for _, texts := range []bool{false, true} {
		var opts []ServeOption
		if texts {
			opts = append(opts, WithErrorTexts())
		}
		s := newServed(t, opts...)
		before := time.Now()
		for range 3 {
			require.NoError(t, s.get(t, "hi"))
		}
		require.Error(t, s.get(t, "lost"))
		_, err := s.orders.Replace(ordersOf(t, s.shop), orderHandlers(), dynamic.AllowMissing())
		require.NoError(t, err)
		require.NoError(t, s.get(t, "hi"))
		require.Error(t, s.get(t, "panic"))
		require.Error(t, s.get(t, "lost"))
		stats := s.askOne(t, PartStats).Services[0].Methods[0].Stats
		assert.Equal(t, uint64(7), stats.CallsStarted)
		assert.Equal(t, uint64(4), stats.CallsOK)
		assert.Equal(t, map[errors.ErrorCode]uint64{errors.NotFound: 2, errors.Internal: 1}, stats.Errors)
		assert.Equal(t, uint64(1), stats.Panics)
		assert.Zero(t, stats.Active)
		assert.Zero(t, stats.NotRun)
		assert.Equal(t, uint64(7), stats.Duration.Count())
		assert.Positive(t, stats.RequestBytes)
		assert.Positive(t, stats.ResponseBytes)
		assert.False(t, stats.LastCall.Before(before))
		assert.Equal(t, errors.NotFound, stats.LastError.Code)
		assert.False(t, stats.LastError.At.Before(before))
		if texts {
			assert.Equal(t, "no order for "+strings.Repeat("é", 93), stats.LastError.Text)
		} else {
			assert.Empty(t, stats.LastError.Text)
		}
	}
}

// TestServe_Describes checks that the server sends the descriptors of its current version for the
// digest of that version, and no others.
func TestServe_Describes(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	describe := func(service *registry.Service) error {
		digest, err := DigestOf(service.Descriptor())
		require.NoError(t, err)
		client, err := dynamic.NewClient[*dynamicpb.Message, *dynamicpb.Message](s.conn, fleetServiceName+"/Describe")
		require.NoError(t, err)
		response, err := client.Topic(digest.String()).Call(t.Context(), toMessage(&describeRequest{Comments: true}))
		if err != nil {
			return err
		}
		files, err := unpackFiles(fromMessage[describeResponse](response))
		require.NoError(t, err)
		again, err := digestOfFiles(files.GetFile())
		require.NoError(t, err)
		assert.Equal(t, digest, again)
		return nil
	}
	first, second := ordersOf(t, s.shop), ordersOf(t, shopRegistry(t, "message More {}"))
	require.NoError(t, describe(first))
	require.Error(t, describe(second))
	changes := s.listen(t)
	_, err := s.orders.Replace(second, orderHandlers(), dynamic.AllowMissing())
	require.NoError(t, err)
	requireChange(t, changes, ChangeReplaced)
	require.NoError(t, describe(second))
	require.Error(t, describe(first))
}

// listen returns the changes that the servers of the bus publish.
func (s *served) listen(t testing.TB) <-chan *dynamicpb.Message {
	t.Helper()
	client, err := dynamic.NewClient[*dynamicpb.Message, *dynamicpb.Message](s.conn, fleetServiceName+"/Changes")
	require.NoError(t, err)
	subscription, err := client.Subscribe(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { _ = subscription.Close() })
	return subscription.Channel()
}

// requireChange checks the kind of the next change and returns the change. It skips ChangeStarted.
func requireChange(t testing.TB, changes <-chan *dynamicpb.Message, kind ChangeKind) *Change {
	t.Helper()
	select {
	case message := <-changes:
		change := fromMessage[Change](message)
		if change.Kind == ChangeStarted {
			return requireChange(t, changes, kind)
		}
		require.Equal(t, kind.String(), change.Kind.String())
		require.Equal(t, "SRV_shop", change.ServerID)
		require.WithinDuration(t, time.Now(), change.At, time.Minute)
		return change
	case <-time.After(10 * time.Second):
		require.FailNow(t, "no change: "+kind.String())
		return nil
	}
}

func TestServe_PublishesChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sick atomic.Bool
		s := newServed(t, WithCheck("database", time.Second, func(context.Context) error {
			if sick.Load() {
				return errors.New("secret")
			}
			return nil
		}))
		synctest.Wait() // The first check and the publication of ChangeStarted are over.
		changes := s.listen(t)
		old, err := s.server.Register(ordersOf(t, s.shop), orderHandlers(), dynamic.AllowMissing(), dynamic.WithWireName("Old"))
		require.NoError(t, err)
		added := requireChange(t, changes, ChangeServiceAdded)
		assert.Equal(t, "shop.Orders", added.Service)
		assert.NotZero(t, added.Digest)
		require.Len(t, s.ask(t, "service_Old", queryRequest{}), 1)
		next, err := old.Replace(ordersOf(t, s.shop), orderHandlers(), dynamic.AllowMissing(), dynamic.WithWireName("Old"))
		require.NoError(t, err)
		requireChange(t, changes, ChangeReplaced)
		require.NoError(t, next.Close(t.Context()))
		requireChange(t, changes, ChangeServiceRemoved)
		require.Empty(t, s.ask(t, "service_Old", queryRequest{}))

		sick.Store(true)
		failing := requireChange(t, changes, ChangeHealth)
		assert.Equal(t, StatusNotServing, failing.Status)
		assert.Equal(t, "check database: not_serving", failing.Text)
		sick.Store(false)
		assert.Equal(t, StatusServing, requireChange(t, changes, ChangeHealth).Status)
		s.status.SetServing("shop.Orders", false)
		s.status.SetServing("shop.Orders", false)
		change := requireChange(t, changes, ChangeHealth)
		assert.Equal(t, "shop.Orders", change.Service)
		assert.Equal(t, StatusNotServing, change.Status)

		require.NoError(t, s.server.Drain(t.Context()))
		requireChange(t, changes, ChangeDraining)
		assert.Equal(t, StateDraining, s.askOne(t).State)
		require.NoError(t, s.server.Resume())
		requireChange(t, changes, ChangeResumed)
		assert.Equal(t, StateServing, s.askOne(t).State)
		require.NoError(t, s.server.Shutdown(t.Context()))
		requireChange(t, changes, ChangeDraining)
		requireChange(t, changes, ChangeStopped)
		require.Empty(t, s.ask(t, scopeAll, queryRequest{}))
	})
}

// TestServe_AnswersWhileBusy checks that a server answers queries after it has reached its limit of
// concurrent requests, and while its shutdown waits for a handler.
func TestServe_AnswersWhileBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newServed(t)
		release := make(chan struct{})
		_, err := s.server.Register(ordersOf(t, s.shop), dynamic.Handlers{
			"Get": dynamic.Unary(func(context.Context, *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
				<-release
				return wrapperspb.String("late"), nil
			}),
		}, dynamic.AllowMissing(), dynamic.WithWireName("Slow"))
		require.NoError(t, err)
		slow, err := registry.NewService(ordersOf(t, s.shop).Descriptor(), registry.WithWireName("Slow"))
		require.NoError(t, err)
		reg := registry.New()
		_, err = reg.Register(slow.Descriptor(), registry.WithWireName("Slow"))
		require.NoError(t, err)
		conn, err := dynamic.NewConn(s.bus, reg)
		require.NoError(t, err)
		defer func() { require.NoError(t, conn.Close()) }()
		ended := make(chan struct{})
		for range 2 {
			go func() {
				_, err := dynamic.Invoke(t.Context(), conn, "shop.Orders/Get", wrapperspb.String("hi"), dynamic.WithRequestTimeout(time.Hour))
				assert.NoError(t, err)
				ended <- struct{}{}
			}()
		}
		synctest.Wait()
		methods := s.askOne(t, PartStats).Services[1].Methods
		assert.Equal(t, uint64(2), methods[0].Stats.Active)
		assert.Zero(t, methods[0].Stats.CallsOK)
		require.Error(t, s.get(t, "no room"))
		stats := s.askOne(t, PartStats).Services[0].Methods[0].Stats
		assert.Equal(t, uint64(1), stats.NotRun)
		assert.Equal(t, map[errors.ErrorCode]uint64{errors.ResourceExhausted: 1}, stats.Errors)
		go func() {
			assert.NoError(t, s.server.Shutdown(t.Context()))
			ended <- struct{}{}
		}()
		synctest.Wait()
		assert.Equal(t, StateDraining, s.askOne(t).State)
		close(release)
		for range 3 {
			<-ended
		}
		assert.Empty(t, s.ask(t, scopeAll, queryRequest{}))
	})
}

// hungBus is a bus on which each publication waits until its context ends.
type hungBus struct {
	bus.Bus

	hangs atomic.Bool
}

func (b *hungBus) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	if b.hangs.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return b.Bus.Publish(ctx, channel, frame, report)
}

// TestServe_ShutdownWithoutBroker checks that the shutdown of a server does not wait for long if
// the bus hangs.
func TestServe_ShutdownWithoutBroker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		local := bus.NewLocal()
		defer func() { require.NoError(t, local.Close()) }()
		b := &hungBus{Bus: local}
		s := newServedOn(t, b, func(o *serveOptions) { o.bounds = newServeOptions(nil).bounds })
		synctest.Wait()
		b.hangs.Store(true)
		started := time.Now()
		require.NoError(t, s.server.Shutdown(t.Context()))
		assert.LessOrEqual(t, time.Since(started), 2*time.Second)
		b.hangs.Store(false)
	})
}

// countedBus counts the frames that are published on it.
type countedBus struct {
	bus.Bus

	published atomic.Int64
}

func (b *countedBus) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	b.published.Add(1)
	return b.Bus.Publish(ctx, channel, frame, report)
}

// TestServe_IsSilent checks that a server sends nothing unless it is queried.
func TestServe_IsSilent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &countedBus{Bus: bus.NewLocal()}
		var checks atomic.Int64
		newServedOn(t, b, WithCheck("database", time.Second, func(context.Context) error {
			checks.Add(1)
			return nil
		}))
		synctest.Wait()
		before := b.published.Load()
		<-time.After(time.Hour) // virtual time
		assert.Greater(t, checks.Load(), int64(3000))
		assert.Equal(t, before, b.published.Load())
	})
}

// refusingBus refuses subscriptions to some channels while refuses is not empty.
type refusingBus struct {
	bus.Bus

	refuses atomic.Value // a part of the names of the channels, or empty
}

func (b *refusingBus) Subscribe(ctx context.Context, channel bus.Channel, mode bus.Mode, deliver bus.Handler) (bus.Subscription, error) {
	if part, _ := b.refuses.Load().(string); part != "" && strings.Contains(channel.Name, part) {
		return nil, errors.NewErrorf(errors.Unavailable, "refused")
	}
	return b.Bus.Subscribe(ctx, channel, mode, deliver)
}

// TestServe_TriesScopesAgain checks that the scope of a new service is registered later if the bus
// refuses it at first, and that the server's answers contain the service in the meantime.
func TestServe_TriesScopesAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		local := bus.NewLocal()
		defer func() { require.NoError(t, local.Close()) }()
		b := &refusingBus{Bus: local}
		server := dynamic.NewServer(b, dynamic.WithLogger(slog.New(slog.DiscardHandler)))
		b.refuses.Store("all")
		_, err := Serve(server)
		requireCode(t, errors.Unavailable, err)

		b.refuses.Store("")
		s := newServedOn(t, b)
		b.refuses.Store("service_Old")
		_, err = s.server.Register(ordersOf(t, s.shop), orderHandlers(), dynamic.AllowMissing(), dynamic.WithWireName("Old"))
		require.NoError(t, err)
		<-time.After(10 * scopeRetry) // virtual time
		assert.Empty(t, s.ask(t, "service_Old", queryRequest{}))
		assert.Len(t, s.askOne(t, PartServices).Services, 2)
		b.refuses.Store("")
		<-time.After(scopeRetry)
		synctest.Wait()
		assert.Len(t, s.ask(t, "service_Old", queryRequest{}), 1)
	})
}

// slowBus is a bus that delays each subscription until the test permits it.
type slowBus struct {
	bus.Bus

	// permits is nil while subscriptions are not delayed.
	permits atomic.Pointer[chan struct{}]
	delayed chan struct{}
}

func (b *slowBus) Subscribe(ctx context.Context, channel bus.Channel, mode bus.Mode, deliver bus.Handler) (bus.Subscription, error) {
	if permits := b.permits.Load(); permits != nil && strings.Contains(channel.String(), "Describe") {
		b.delayed <- struct{}{}
		<-*permits
	}
	return b.Bus.Subscribe(ctx, channel, mode, deliver)
}

// A server must not report the digest of a service before clients can request its descriptors.
func TestServe_TellsServicesThatCanBeDescribed(t *testing.T) {
	t.Parallel()
	local := bus.NewLocal()
	t.Cleanup(func() { require.NoError(t, local.Close()) })
	b := &slowBus{Bus: local, delayed: make(chan struct{}, 16)}
	s := newServedOn(t, b)
	permits := make(chan struct{})
	b.permits.Store(&permits)
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"new.proto": {Data: []byte(`syntax = "proto3"; package new; message M {} service New { rpc Get(M) returns (M); }`)}}, "new.proto"))
	added, err := reg.FindService("new.New")
	require.NoError(t, err)
	_, err = s.server.Register(added, dynamic.Handlers{}, dynamic.AllowMissing())
	require.NoError(t, err)
	<-b.delayed

	answers := make(chan *Server, 1)
	query, err := dynamic.NewClient[*dynamicpb.Message, *dynamicpb.Message](s.conn, fleetServiceName+"/Query")
	require.NoError(t, err)
	go func() {
		defer close(answers)
		for response := range query.Topic(scopeAll).Responses(t.Context(), toMessage(&queryRequest{Parts: []Part{PartServices}})) {
			if response.Err == nil {
				answers <- fromMessage[Server](response.Result)
			}
		}
	}()
	require.NotNil(t, s.askOne(t), "a question about other things is answered at once")
	select {
	case <-answers:
		close(permits)
		t.Fatal("the server has told a service before its scope is there")
	default:
	}
	close(permits)
	answer := <-answers
	require.NotNil(t, answer)
	require.Len(t, answer.Services, 2)
	for _, service := range answer.Services {
		_, err = dynamic.Invoke(t.Context(), s.conn, fleetServiceName+"/Describe", map[string]any{}, dynamic.WithTopic(service.Digest.String()))
		require.NoError(t, err)
	}
}

func TestServe_Authorizes(t *testing.T) {
	t.Parallel()
	s := newServed(t, WithAuthorize(func(ctx context.Context, verb Verb) error {
		info, ok := dynamic.RequestInfoFromContext(ctx)
		assert.True(t, ok)
		if info.Metadata["key"] != "secret" {
			return errors.NewErrorf(errors.PermissionDenied, "you may not %s", verb)
		}
		return nil
	}))
	client, err := dynamic.NewClient[*dynamicpb.Message, *dynamicpb.Message](s.conn, fleetServiceName+"/Query")
	require.NoError(t, err)
	for metadata, allowed := range map[string]bool{"secret": true, "": false} {
		ctx := dynamic.ContextWithMetadata(t.Context(), map[string]string{"key": metadata})
		for response := range client.Topic(scopeAll).Responses(ctx, toMessage(&queryRequest{})) {
			assert.Equal(t, allowed, response.Err == nil, response.Err)
		}
	}
	digest, err := DigestOf(ordersOf(t, s.shop).Descriptor())
	require.NoError(t, err)
	_, err = dynamic.Invoke(t.Context(), s.conn, fleetServiceName+"/Describe", map[string]any{}, dynamic.WithTopic(digest.String()))
	assert.Equal(t, errors.PermissionDenied, errors.FromContext(err).Code())
}

func TestServe_Errors(t *testing.T) {
	t.Parallel()
	ok := func(context.Context) error { return nil }
	labels := map[string]string{}
	for i := range maxLabels + 1 {
		labels[fmt.Sprint(i)] = ""
	}
	b := bus.NewLocal()
	server := dynamic.NewServer(b)
	for name, option := range map[string]ServeOption{
		"labels": WithLabels(labels), "no name": WithCheck("", time.Second, ok), "no interval": WithCheck("a", 0, ok),
		"no function": WithCheck("a", time.Second, nil),
		"two checks": func(o *serveOptions) {
			WithCheck("a", time.Second, ok)(o)
			WithCheck("a", time.Second, ok)(o)
		},
		"many checks": func(o *serveOptions) {
			for i := range maxChecks + 1 {
				WithCheck(fmt.Sprint(i), time.Second, ok)(o)
			}
		},
	} {
		_, err := Serve(server, option)
		requireCode(t, errors.InvalidArgument, err, name)
	}
	_, err := Serve(nil)
	requireCode(t, errors.InvalidArgument, err)
	_, err = Serve(dynamic.NewServer(nil))
	requireCode(t, errors.InvalidArgument, err)

	first, err := Serve(server)
	require.NoError(t, err)
	assert.Equal(t, StateStarting, first.Server(t.Context()).State)
	_, err = Serve(server)
	requireCode(t, errors.AlreadyExists, err)
	require.NoError(t, first.Close())
	require.NoError(t, first.Close())
	second, err := Serve(server)
	require.NoError(t, err)
	server.Kill()
	require.NoError(t, second.Close())
	_, err = Serve(server)
	require.ErrorIs(t, err, errors.ErrServerClosed)
	require.NoError(t, b.Close())
	_, err = Serve(dynamic.NewServer(b))
	require.Error(t, err)
}

func requireCode(t testing.TB, code errors.ErrorCode, err error, message ...any) {
	t.Helper()
	coded, ok := errors.AsType[errors.Error](err)
	require.True(t, ok, "%T: %v %v", err, err, message)
	require.Equal(t, code, coded.Code(), message...)
}

func TestServe_TellsPlugins(t *testing.T) {
	t.Parallel()
	list := func() []Plugin { return []Plugin{{Name: "hello", State: "failed", Error: "secret"}} }
	assert.Equal(t, []Plugin{{Name: "hello", State: "failed"}}, newServed(t, WithPlugins(list)).askOne(t, PartPlugins).Plugins)
	assert.Equal(t, list(), newServed(t, WithPlugins(list), WithErrorTexts()).askOne(t, PartPlugins).Plugins)
}

// TestMethodCounters_AllocateNothing checks that counting a successful call allocates no memory.
func TestMethodCounters_AllocateNothing(t *testing.T) { //nolint:paralleltest // AllocsPerRun permits no parallel tests
	var recorder dynamic.MethodRecorder = &methodCounters{}
	end := dynamic.CallEnd{Time: time.Now(), Duration: time.Millisecond, RequestBytes: 100, ResponseBytes: 100}
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		recorder.RecordStart()
		recorder.RecordClaim(0.5)
		recorder.RecordEnd(end)
	}))
}

// TestMethodCounters_Stats checks that each event increases the right counter.
func TestMethodCounters_Stats(t *testing.T) {
	t.Parallel()
	var counters methodCounters
	counters.RecordStart()
	counters.RecordClaim(0.5)
	counters.RecordClaim(-1)
	counters.RecordClaim(0.25)
	for range 2 {
		counters.RecordExpired()
	}
	for range 3 {
		counters.RecordPanic()
	}
	for range 4 {
		counters.RecordUpdate()
	}
	assert.Equal(t, &Stats{
		CallsStarted: 1, Active: 1, Declined: 1, Expired: 2, Panics: 3, UpdatesPublished: 4, LastAffinity: 0.25,
	}, counters.stats(true))
	at := time.Now().Round(0)
	counters.RecordStart()
	counters.RecordEnd(dynamic.CallEnd{
		Code: errors.ResourceExhausted, Text: "full", Unprocessed: true, Time: at, Duration: 8, RequestBytes: 10, ResponseBytes: 20,
	})
	stats := counters.stats(true)
	assert.Equal(t, uint64(1), stats.NotRun)
	assert.Equal(t, uint64(1), stats.Active)
	assert.Equal(t, uint64(10), stats.RequestBytes)
	assert.Equal(t, uint64(20), stats.ResponseBytes)
	assert.Equal(t, Histogram{Offset: 23, Counts: []uint64{1}, Sum: 8, Max: 8}, stats.Duration)
	assert.Equal(t, &LastError{At: at, Code: errors.ResourceExhausted, Text: "full"}, stats.LastError)
	assert.Equal(t, at, stats.LastCall)
}

// TestMethodCounters_Concurrent checks that concurrent calls are all counted, and that counters
// that are read at the same time do not contradict each other.
func TestMethodCounters_Concurrent(t *testing.T) {
	t.Parallel()
	const callers, calls = 8, 200
	var counters methodCounters
	var running sync.WaitGroup
	for range callers {
		running.Go(func() {
			for i := range calls {
				counters.RecordStart()
				if stats := counters.stats(false); stats.Active == 0 || stats.Active > callers*calls || stats.CallsOK > stats.CallsStarted {
					t.Errorf("%d active, %d ok of %d", stats.Active, stats.CallsOK, stats.CallsStarted)
				}
				counters.RecordEnd(dynamic.CallEnd{Duration: time.Duration(i), RequestBytes: 1, ResponseBytes: 2})
			}
		})
	}
	running.Wait()
	stats := counters.stats(false)
	assert.Equal(t, uint64(callers*calls), stats.CallsOK)
	assert.Zero(t, stats.Active)
	assert.Equal(t, uint64(callers*calls), stats.RequestBytes)
	assert.Equal(t, uint64(2*callers*calls), stats.ResponseBytes)
	assert.Equal(t, time.Duration(callers*calls*(calls-1)/2), stats.Duration.Sum)
	assert.Equal(t, time.Duration(calls-1), stats.Duration.Max)
}

func TestMethodCounters_LimitErrorCodes(t *testing.T) {
	t.Parallel()
	var counters methodCounters
	for i := range 2 * maxErrorCodes {
		counters.RecordStart()
		counters.RecordEnd(dynamic.CallEnd{Code: errors.ErrorCode(fmt.Sprint("own", i))})
	}
	stats := counters.stats(false)
	assert.Len(t, stats.Errors, maxErrorCodes+1)
	assert.Equal(t, uint64(maxErrorCodes), stats.Errors[errors.Unknown])
	assert.Zero(t, stats.CallsOK)
	assert.Zero(t, stats.Active)
}
