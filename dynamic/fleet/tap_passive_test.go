package fleet

import (
	"context"
	"net"
	"testing"
	"testing/fstest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// startedPassive is a passive tap that runs on a goroutine until the test ends.
type startedPassive struct{ events chan *TapEvent }

// startPassiveTap starts a passive tap and waits until it has subscribed.
func (w *tapWorld) startPassiveTap(t *testing.T, request PassiveTap) *startedPassive {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	tap, err := w.fleet.startPassive(ctx, &request)
	require.NoError(t, err)
	s := &startedPassive{events: make(chan *TapEvent, 1000)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer tap.stop()
		for event := range tap.all(ctx) {
			s.events <- event
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return s
}

// await waits for an event of a kind and skips others.
func (s *startedPassive) await(t *testing.T, kind TapKind) *TapEvent {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case event := <-s.events:
			if event.Kind == kind {
				return event
			}
		case <-timeout:
			require.FailNow(t, "no event of kind "+kind.String())
		}
	}
}

func (w *tapWorld) services(t *testing.T) []*registry.Service {
	t.Helper()
	service, err := w.registry.FindService("shop.Orders")
	require.NoError(t, err)
	return []*registry.Service{service}
}

func redisBusOn(t *testing.T, addr string) bus.Bus {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	b, err := redisbus.New(client)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, b.Close())
		require.NoError(t, client.Close())
	})
	return b
}

func TestTapPassive(t *testing.T) {
	t.Parallel()
	for name, connect := range networks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			open := connect(t)
			w := newTapWorld(t, open(), permitted)
			w.fleet = newFleet(t, open())
			request := PassiveTap{Services: w.services(t), TapRequest: TapRequest{Payloads: true}}
			for event, err := range w.fleet.TapPassive(t.Context(), request) {
				assert.Nil(t, event)
				effect, ok := errors.AsType[*ObserverEffectError](err)
				require.True(t, ok, "%v", err)
				assert.Equal(t, []string{"Orders"}, effect.Services)
				assert.Contains(t, err.Error(), "wait for their timeout instead of failing at once")
			}

			request.Anyway = true
			require.NoError(t, w.get(t, `{"id":1}`), "the client becomes known")
			passive := w.startPassiveTap(t, request)
			// The tap subscribes to the responses to a client only after it has seen the client's
			// first request, so it may miss the first responses.
			var response *TapEvent
			require.Eventually(t, func() bool {
				require.NoError(t, w.get(t, `{"id":7,"card":{"number":"4111","owner":"Ada"}}`))
				for {
					select {
					case event := <-passive.events:
						if event.Kind == TapResponse {
							response = event
							return true
						}
					case <-time.After(50 * time.Millisecond):
						return false
					}
				}
			}, 10*time.Second, time.Millisecond)
			assert.Equal(t, "Orders/Get", response.Method)
			assert.Positive(t, response.Duration)
			assert.Contains(t, string(response.Payload), "Ada")
			assert.NotContains(t, string(response.Payload), "4111")

			require.Error(t, w.get(t, `{"id":404}`))
			assert.Equal(t, errors.NotFound, passive.await(t, TapError).Code)
			require.NoError(t, w.service.Publish(t.Context(), "Placed", dynamicpb.NewMessage(shopMethod(t, w.registry, "Placed").Output())))
			assert.Equal(t, "Orders/Placed", passive.await(t, TapUpdate).Method)
		})
	}
}

// A passive tap must not watch a method on the topics of a method with the same name in another
// service.
func TestTapPassive_MethodsWithTheSameName(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	server := dynamic.NewServer(b)
	t.Cleanup(func() {
		server.Kill()
		require.NoError(t, b.Close())
	})
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"rooms.proto": {Data: []byte(`
		syntax = "proto3";
		import "options.proto";
		message Room {}
		service Rooms { rpc Open(Room) returns (Room) { option (psrpc.options).topics = true; } }
		service Doors { rpc Open(Room) returns (Room) { option (psrpc.options).topics = true; } }
	`)}}, "rooms.proto"))
	for topic, name := range map[string]string{"kitchen": "Rooms", "front": "Doors"} {
		service, err := reg.FindService(name)
		require.NoError(t, err)
		registration, err := server.Register(service, dynamic.Handlers{}, dynamic.AllowMissing())
		require.NoError(t, err)
		require.NoError(t, registration.RegisterTopic("Open", topic))
	}
	found, err := scanServices(t.Context(), b, reg.Services())
	require.NoError(t, err)
	assert.Equal(t, map[scannedMethod][][]string{{"Rooms", "Open"}: {{"kitchen"}}, {"Doors", "Open"}: {{"front"}}}, found.topics)
}

// A tap on a replica of the Redis server must see all traffic and change nothing: calls to methods
// without servers must still fail at once.
func TestTapPassive_Replica(t *testing.T) {
	t.Parallel()
	master := testenv.Redis(t, "--repl-diskless-sync-delay", "0")
	host, port, err := net.SplitHostPort(master.Addr())
	require.NoError(t, err)
	replica := redisBusOn(t, testenv.Redis(t, "--replicaof", host, port).Addr())
	w := newTapWorld(t, redisBusOn(t, master.Addr()), permitted)
	request := PassiveTap{Services: w.services(t), Replica: redisBusOn(t, master.Addr())}
	_, err = w.fleet.startPassive(t.Context(), &request)
	requireCode(t, errors.FailedPrecondition, err)

	request.Replica = replica
	passive := w.startPassiveTap(t, request)
	require.Eventually(t, func() bool { // until the replica has connected to its master
		require.NoError(t, w.get(t, `{"id":7}`))
		select {
		case event := <-passive.events:
			return event.Kind == TapRequested
		case <-time.After(50 * time.Millisecond):
			return false
		}
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, w.get(t, `{"id":8}`))
	passive.await(t, TapResponse)

	require.NoError(t, w.server.Drain(t.Context()))
	started := time.Now()
	err = w.get(t, `{"id":9}`)
	facts, _ := errors.FactsOf(err)
	assert.Equal(t, errors.ReasonNobodyListening, facts.Reason)
	assert.Less(t, time.Since(started), longWait/2, "the call has waited for its timeout")
}
