package doctor_test

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/doctor"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	redis.SetLogger(silence{})
	os.Exit(m.Run())
}

// silence is a logger of package redis that does not log.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// orders is the service that most tests serve.
const orders = `syntax = "proto3"; package shop; import "options.proto";
message Order { string id = 1; }
service Orders {
  rpc Get(Order) returns (Order);
  rpc Reserve(Order) returns (Order) { option (psrpc.options).type = AFFINITY; }
  rpc All(Order) returns (Order) { option (psrpc.options).type = MULTI; }
  rpc Room(Order) returns (Order) { option (psrpc.options) = { topics: true topic_params: { names: "room" single_server: true } }; }
  rpc Placed(Order) returns (Order) { option (psrpc.options) = { subscription: true type: MULTI }; }
}`

// changed returns the source of orders with old replaced.
func changed(t *testing.T, old, replacement string) string {
	t.Helper()
	require.Contains(t, orders, old)
	return strings.Replace(orders, old, replacement, 1)
}

// parse returns the first service of a .proto file.
func parse(t *testing.T, source string) *registry.Service {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"test.proto": {Data: []byte(source)}}, "test.proto"))
	require.Len(t, reg.Services(), 1)
	return reg.Services()[0]
}

// echo is a handler that returns the request as the response.
func echo(_ context.Context, _ *registry.Method, request []byte) ([]byte, error) { return request, nil }

// handlers returns handle as the handler of each method that can be called.
func handlers(service *registry.Service, handle func(context.Context, *registry.Method, []byte) ([]byte, error)) dynamic.Handlers {
	all := make(dynamic.Handlers)
	for _, method := range service.Methods() {
		if method.Kind() != registry.KindSubscription {
			all[method.Name()] = dynamic.Raw(handle)
		}
	}
	return all
}

// peer is a server that a test has started.
type peer struct {
	*dynamic.Server

	registration *dynamic.Registration
	status       *fleet.Status
}

// serve starts a server that answers discovery requests. It is killed when the test ends.
func serve(t *testing.T, b bus.Bus, id string, service *registry.Service, handlers dynamic.Handlers, opts ...dynamic.ServiceOption) *peer {
	t.Helper()
	server := dynamic.NewServer(b, dynamic.WithServerID(id), dynamic.WithServerTimeout(time.Minute))
	t.Cleanup(server.Kill)
	registration, err := server.Register(service, handlers, opts...)
	require.NoError(t, err)
	status, err := fleet.Serve(server)
	require.NoError(t, err)
	return &peer{server, registration, status}
}

// pretend starts a server that answers discovery requests with answers that the test chooses. tell
// is called for each request, and returns a QueryResponse as JSON.
func pretend(t *testing.T, b bus.Bus, id string, tell func() string) {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(os.DirFS("../../../../dynamic/fleet/dynpsrpc/fleet/v1"), "fleet.proto"))
	service, err := reg.FindService("dynpsrpc.fleet.v1.DynpsrpcFleet")
	require.NoError(t, err)
	server := dynamic.NewServer(b, dynamic.WithServerID(id), dynamic.WithServerTimeout(time.Minute))
	t.Cleanup(server.Kill)
	registration, err := server.Register(service, dynamic.Handlers{
		"Query": dynamic.Raw(func(_ context.Context, method *registry.Method, _ []byte) ([]byte, error) {
			answer := dynamicpb.NewMessage(method.Output())
			if err := protojson.Unmarshal([]byte(tell()), answer); err != nil {
				return nil, err
			}
			return proto.Marshal(answer)
		}),
	}, dynamic.AllowMissing())
	require.NoError(t, err)
	require.NoError(t, registration.RegisterTopic("Query", "all"))
}

// patient sets timeouts that do not end the calls of a test, however busy the machine is.
var patient = dynamic.ConnOptions(dynamic.WithClientTimeout(time.Minute), dynamic.WithSelectionTimeout(time.Minute))

// newFleet returns a fleet with its own conn.
func newFleet(t *testing.T, b bus.Bus) *fleet.Fleet {
	t.Helper()
	conn, err := dynamic.NewConn(b, registry.New(), patient)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	asked, err := fleet.New(conn)
	require.NoError(t, err)
	return asked
}

// client returns a client of a method, which stays open until the test ends.
func client(t *testing.T, b bus.Bus, service *registry.Service, method string) *dynamic.Client[*dynamicpb.Message, *dynamicpb.Message] {
	t.Helper()
	reg := registry.New()
	_, err := reg.Register(service.Descriptor(), registry.WithWireName(service.WireName()))
	require.NoError(t, err)
	conn, err := dynamic.NewConn(b, reg, patient)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	c, err := dynamic.NewClient[*dynamicpb.Message, *dynamicpb.Message](conn, string(service.Name())+"/"+method)
	require.NoError(t, err)
	return c
}

// order returns an empty request for the methods of a service like orders.
func order(service *registry.Service) *dynamicpb.Message {
	return dynamicpb.NewMessage(service.Methods()[0].Input())
}

// window is the time between the first and the second answers, in tests that need both.
const window = 3 * time.Second

// patience is how long tests wait for servers that do not answer. A busy machine may pause for
// almost as long.
const patience = 4 * time.Second

// examine runs the given checks, or all if none are given, and returns the report.
func examine(t *testing.T, b bus.Bus, only ...string) doctor.Report {
	t.Helper()
	report, err := doctor.Examine(t.Context(), doctor.Target{Bus: b, Fleet: newFleet(t, b)}, doctor.Options{Window: window, Wait: patience, Only: only})
	require.NoError(t, err)
	return report
}

// finding runs one check and returns its only finding that is not OK.
func finding(t *testing.T, b bus.Bus, check string) doctor.Finding {
	t.Helper()
	return onlyFinding(t, examine(t, b, check))
}

// onlyFinding returns the only finding of a report that is not OK.
func onlyFinding(t *testing.T, report doctor.Report) doctor.Finding {
	t.Helper()
	var bad []doctor.Finding
	for _, f := range report.Findings {
		if f.Severity != doctor.OK {
			bad = append(bad, f)
		}
	}
	require.Len(t, bad, 1, "%+v", report)
	assert.NotEmpty(t, bad[0].Do, "a finding tells what to do")
	return bad[0]
}

// network opens buses that are connected to each other.
type network struct {
	name string
	url  string
	// open opens another bus. parameters are appended to its URL.
	open func(t *testing.T, parameters string) bus.Bus
}

// open opens a bus and closes it when the test ends.
func open(t *testing.T, url string) bus.Bus {
	t.Helper()
	b, err := bus.Open(t.Context(), url, bus.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	return b
}

func onRedis(t *testing.T, config ...string) network {
	t.Helper()
	url := testenv.Redis(t, config...).URL()
	return network{"redis", url, func(t *testing.T, parameters string) bus.Bus { t.Helper(); return open(t, url+parameters) }}
}

func onNATS(t *testing.T) network {
	t.Helper()
	url := testenv.NATS(t).URL()
	return network{"nats", url, func(t *testing.T, parameters string) bus.Bus { t.Helper(); return open(t, url+parameters) }}
}

func onLocal(t *testing.T) network {
	t.Helper()
	b := bus.NewLocal()
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	return network{"local", "", func(*testing.T, string) bus.Bus { return b }}
}

// onEach runs a test on each kind of bus.
func onEach(t *testing.T, test func(t *testing.T, n network)) {
	t.Helper()
	for name, start := range map[string]func(*testing.T) network{
		"local": onLocal, "nats": onNATS, "redis": func(t *testing.T) network { t.Helper(); return onRedis(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start(t))
		})
	}
}

// withMonitor gives a NATS server a monitoring port.
func withMonitor(o *server.Options) { o.HTTPHost, o.HTTPPort = "127.0.0.1", -1 }

// refuse makes a server refuse to answer discovery requests.
func refuse(t *testing.T, s *dynamic.Server) {
	t.Helper()
	_, err := fleet.Serve(s, fleet.WithAuthorize(func(context.Context, fleet.Verb) error {
		return errors.NewErrorf(errors.PermissionDenied, "not for you")
	}))
	require.NoError(t, err)
}
