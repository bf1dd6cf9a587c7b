package explorer

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/explorer"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet/tapfilter"
	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// broker is a broker process that a test can kill and start again.
type broker interface {
	URL() string
	Kill()
	Start()
}

// brokers starts a broker of each kind.
var brokers = map[string]func(t testing.TB) broker{
	"redis": func(t testing.TB) broker { return testenv.Redis(t) },
	"nats":  func(t testing.TB) broker { return testenv.NATSProcess(t) },
}

// onEachBroker runs a test on each kind of broker.
func onEachBroker(t *testing.T, test func(t *testing.T, w *world)) {
	for name, start := range brokers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newWorld(t, start(t)))
		})
	}
}

// world is a fleet on a broker, and an explorer of it. The servers ada, bob and eve answer queries
// of the fleet and also serve shop.Orders. carl does neither. Each has a connection of its own.
// Subscriptions stand for a psrpc server of the service Room, which only the broker knows.
type world struct {
	broker broker
	shops  map[string]*shop
	// url is the address of the explorer, and link the one with the token.
	url, link string
}

// rooms contains the room of each server.
var rooms = map[string]string{"ada": "attic", "bob": "bath", "eve": "cellar", "carl": "garage"}

func newWorld(t testing.TB, b broker) *world {
	t.Helper()
	w := &world{broker: b, shops: map[string]*shop{}}
	for name, room := range rooms {
		w.shops[name] = openShop(t, connect(t, b), name, room)
		if name != "carl" {
			answerFor(t, w.shops[name])
			w.shops[name].takeOrders(t)
		}
	}
	w.shops["ada"].publishNews(t)
	psrpc := connect(t, b)
	for _, channel := range []wire.Channel{
		wire.RequestChannel("Room", "Join", nil, false), wire.ClaimResponseChannel("Room", "Join", nil),
	} {
		subscription, err := psrpc.Subscribe(t.Context(), bus.Channel(channel), bus.Broadcast, func([]byte) {})
		require.NoError(t, err)
		t.Cleanup(subscription.Close)
	}
	w.url, w.link = explore(t, connect(t, b))
	return w
}

func connect(t testing.TB, b broker) bus.Bus {
	t.Helper()
	connected, err := bus.Open(t.Context(), b.URL(), bus.WithLogger(quiet))
	require.NoError(t, err)
	t.Cleanup(func() { _ = connected.Close() }) // fails if the broker is gone
	return connected
}

// quiet discards all log records. Buses log the outage when a test kills their broker.
var quiet = slog.New(slog.DiscardHandler)

// answerFor makes a server answer queries of the fleet.
func answerFor(t testing.TB, s *shop) {
	t.Helper()
	stock := func(context.Context) error {
		if s.ID() == "eve" {
			return errors.NewErrorf(errors.Unavailable, "the cellar is under water")
		}
		return nil
	}
	_, err := fleet.Serve(s.Server,
		fleet.WithApp("shop", "1.4.2"), fleet.WithLabels(map[string]string{"region": "eu", "host": s.ID() + ".example"}),
		fleet.WithCheck("stock", time.Second, stock), fleet.WithErrorTexts(),
		fleet.WithAuthorize(func(context.Context, fleet.Verb) error { return nil }),
		fleet.WithTap(fleet.Filters(tapfilter.Compile)), fleet.WithAdmin(fleet.LogLevel(new(slog.LevelVar))))
	require.NoError(t, err)
}

// explore starts an explorer for a bus. It returns the address of the explorer, and the link with
// the token.
func explore(t testing.TB, b bus.Bus, opts ...explorer.Option) (url, link string) {
	t.Helper()
	reg := registry.New(registry.WithLogger(quiet))
	// After an outage of the broker, a tap notices the lost messages after three keepalive
	// intervals.
	conn, err := dynamic.NewConn(b, reg, dynamic.WithKeepalive(time.Second))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	f, err := fleet.New(conn)
	require.NoError(t, err)
	follower, err := f.Follow(t.Context(), reg, quiet)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, follower.Close()) })
	gw, err := gateway.New(conn, reg, gateway.WithMethods("*/*"), gateway.WithErrorFacts(), gateway.WithStrictJSON(),
		gateway.WithPsrpcStatus(), gateway.WithLogger(quiet), gateway.WithReflection())
	require.NoError(t, err)
	handler, err := explorer.New(f, gw, append(opts, explorer.WithLogger(quiet), explorer.WithDoctor(examine))...)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, handler.Close()) })
	url = serve(t, handler)
	return url, handler.LoginURL(url)
}

// examine returns a report in the form of psrpc doctor.
func examine(context.Context) (any, error) {
	return map[string]any{
		"findings": []map[string]any{
			{"check": "health", "severity": "warn", "seen": "1 server is not healthy: the check stock fails", "servers": []string{"eve"}, "do": "see what the check says on the page of the server"},
			{"check": "broker", "severity": "ok", "seen": "the broker answers within 1 ms"},
		},
		"passed":  []string{"clocks", "versions", "silent"},
		"skipped": []map[string]any{{"check": "limits", "reason": "the broker does not tell its limits"}},
	}, nil
}

// goShopping makes calls until the test ends, so that the pages have something to show.
func (w *world) goShopping(t testing.TB) {
	t.Helper()
	conn, err := dynamic.NewConn(connect(t, w.broker), parseShop(t), dynamic.WithClientID("customer"))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	t.Cleanup(func() {
		cancel()
		<-done
		_ = conn.Close()
	})
	go func() {
		defer close(done)
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			w.shopOnce(ctx, conn, n)
		}
	}()
}

// shopOnce makes one call. Some of the calls fail.
func (w *world) shopOnce(ctx context.Context, conn *dynamic.Conn, n int) {
	request := map[string]any{"name": "tea"}
	if n%50 == 49 {
		request["name"] = "fail not_found"
	}
	switch n % 4 {
	case 0:
		_, _ = dynamic.Invoke(ctx, conn, "shop.Shop/Get", request)
	case 1:
		_, _ = dynamic.Invoke(ctx, conn, "shop.Shop/Best", request)
	case 2:
		_, _ = dynamic.Invoke(ctx, conn, "shop.Orders/Place", map[string]any{"item": "tea", "pieces": n})
	case 3:
		responses, err := dynamic.InvokeMulti(ctx, conn, "shop.Shop/Everyone", request)
		if err != nil {
			return
		}
		for range responses { // the call ends when all responses have been read
		}
	}
}
