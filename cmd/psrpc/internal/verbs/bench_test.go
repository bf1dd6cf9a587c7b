package verbs_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/clitest"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/mock"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const shopProto = "testdata/shop.proto"

// shopRegistry returns a registry with the service shop.Orders.
func shopRegistry(t *testing.T) *registry.Registry {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(os.DirFS("testdata"), "shop.proto"))
	return reg
}

// serveShop serves shop.Orders with a mock. There is no order with the ID 400.
func serveShop(t *testing.T, b bus.Bus, id string, opts ...dynamic.ServerOption) *dynamic.Server {
	t.Helper()
	reg := shopRegistry(t)
	stubs, err := mock.LoadStubs(strings.NewReader(`
stubs:
  - method: Get
    when: request.id == 400
    error: not_found:no such order
  - method: Get
    then: "{'id': request.id, 'state': 'paid'}"
`))
	require.NoError(t, err)
	m, err := mock.New(reg, mock.Config{Stubs: stubs, Echo: true})
	require.NoError(t, err)
	service, _ := reg.Service("shop.Orders")
	server := dynamic.NewServer(b, append(opts, dynamic.WithServerID(id), mock.WithTopics())...)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		assert.NoError(t, server.Shutdown(ctx))
	})
	registration, err := server.Register(service, m.Handlers(service))
	require.NoError(t, err)
	require.NoError(t, registration.RegisterTopic("In", "eu"))
	return server
}

// shopEnv returns an environment with two servers of shop.Orders on a bus in this process.
func shopEnv(t *testing.T) clitest.Env {
	t.Helper()
	b := bus.NewLocal()
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	serveShop(t, b, "shop-1")
	serveShop(t, b, "shop-2")
	return clitest.Env{Bus: b}
}

// figures replaces durations by TIME and the measured rate by N, and makes columns two spaces
// apart.
func figures(text string) string {
	text = regexp.MustCompile(`\b\d[\d,]*(\.\d+)?( ms| s|µs|ms| ns)\b`).ReplaceAllString(text, "TIME")
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		if i > 0 && strings.HasPrefix(lines[i-1], "PER SECOND") {
			line = regexp.MustCompile(`^\S+`).ReplaceAllString(line, "N")
		}
		lines[i] = regexp.MustCompile(` {2,}`).ReplaceAllString(line, "  ")
	}
	return strings.Join(lines, "")
}

func TestBench_Golden(t *testing.T) {
	env := shopEnv(t)
	for name, args := range map[string]string{
		"bench_call":        "Orders/Get id={{.N}} -c 4 -n 50 --warm-up 0",
		"bench_multi":       "Orders/All -n 20 --warm-up 0",
		"bench_topic":       "Orders/In id=1 -t eu -n 20 --warm-up 0",
		"bench_stream":      `Orders/Track {"id":1} -n 20 --streams 2 --warm-up 0 -q`,
		"bench_stream_echo": `Orders/Track {"id":1} -n 20 -c 3 --echo --warm-up 0`,
		"bench_update":      "Orders/Changes id=1 -n 20 --subscribers 2 --warm-up 0",
		"bench_errors":      "Orders/Get id=400 -n 100 --warm-up 0 --max-errors 1%",
		"bench_threshold":   "Orders/Get id=1 -n 20 --warm-up 0 --max-p99 1ns --min-rate 1",
		"bench_nobody":      "Orders/In id=1 -t mars -n 20 --warm-up 0",
		"bench_no_topic":    "Orders/In id=1",
		"bench_bad_ramp":    "Orders/Get --ramp 1:2",
		"bench_bad_share":   "Orders/Get --max-errors 101%",
		"bench_two_rates":   "Orders/Get --ramp 1:2:3s --rate 7",
		"bench_bad_data":    `Orders/Get {"idd":{{.N}}}`,
		"bench_bad_field":   `Orders/Get idd={{.N}}`,
		"bench_template":    `Orders/Get {"id":{{.M}}}`,
		"bench_two_data":    `Orders/Get {} {}`,
		"bench_no_file":     `Orders/Get @missing.json`,
		"bench_no_method":   `Orders/Gett`,
		"help_bench":        `--help`,
	} {
		t.Run(name, func(t *testing.T) {
			arguments := append([]string{"bench", "-p", shopProto}, strings.Fields(args)...)
			clitest.Golden(t, name, clitest.Run(t, env, "", arguments...), figures)
		})
	}
}

// If the servers do not answer in time, bench must print the errors and end.
func TestBench_FrozenServer(t *testing.T) {
	env := localEnv(t)
	service, _ := shopRegistry(t).Service("shop.Orders")
	server := dynamic.NewServer(env.Bus, dynamic.WithServerID("frozen"))
	t.Cleanup(server.Kill)
	_, err := server.Register(service, dynamic.Handlers{
		"Get": dynamic.Unary(func(ctx context.Context, _ proto.Message) (proto.Message, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}),
	}, dynamic.AllowMissing())
	require.NoError(t, err)
	result := clitest.Run(t, env, "", "bench", "-p", shopProto, "Orders/Get", "-n", "2", "-c", "2", "--warm-up", "0", "--timeout", "300ms")
	clitest.Golden(t, "bench_frozen", result, figures)
}

func TestLoadVerbs_BusDown(t *testing.T) {
	recorded := recordShop(t, [2]string{`{}`, `{}`})
	for verb, args := range map[string]string{
		"bench": "Orders/Get -p " + shopProto, "replay": recorded, "tap": "", "record": filepath.Join(t.TempDir(), "x.psrpc"),
	} {
		t.Run(verb, func(t *testing.T) {
			arguments := append([]string{verb, "--bus", "redis://127.0.0.1:1"}, strings.Fields(args)...)
			clitest.Golden(t, verb+"_no_bus", clitest.Run(t, clitest.Env{}, "", arguments...))
		})
	}
}

func TestBench_OpenLoopWritesJSONAndFiles(t *testing.T) {
	csv, html := filepath.Join(t.TempDir(), "seconds.csv"), filepath.Join(t.TempDir(), "page.html")
	result := clitest.Run(t, shopEnv(t), `{"id": {{rand 1 9}}}`, "bench", "-p", shopProto, "Orders/Get", "@-",
		"--ramp", "100:300:200ms", "-n", "40", "--warm-up", "100ms", "--csv", csv, "--html", html, "-o", "json", "-q")
	require.Equal(t, 0, result.Exit, result.Stderr)
	var report struct {
		Method     string  `json:"method"`
		Kind       string  `json:"kind"`
		Loop       string  `json:"loop"`
		Completed  int     `json:"completed"`
		NotStarted int     `json:"not_started"`
		PerSecond  float64 `json:"per_second"`
		Latency    struct {
			P99 int `json:"p99_ns"`
		} `json:"latency"`
		Late *struct{} `json:"late"`
	}
	require.NoError(t, json.Unmarshal([]byte(result.Stdout), &report))
	assert.Equal(t, "shop.Orders/Get", report.Method)
	assert.Equal(t, "single", report.Kind)
	assert.Equal(t, "open loop, 100 to 300 a second within 200ms, 100ms of warm-up, 40 operations", report.Loop)
	assert.Equal(t, 40, report.Completed)
	assert.Zero(t, report.NotStarted)
	assert.Positive(t, report.Latency.P99)
	assert.NotNil(t, report.Late)
	page, err := os.ReadFile(html)
	require.NoError(t, err)
	assert.Contains(t, string(page), "shop.Orders/Get")
	assert.FileExists(t, csv)
}

func TestBench_RefusesBusesElsewhere(t *testing.T) {
	for url, allowed := range map[string]bool{
		"redis://10.1.2.3:6379": false, "nats://ada:pa55w0rd@broker.example:4222": false, "nats://127.0.0.1:1,10.0.0.1:2": false,
		"redis-cluster://127.0.0.1:1?addr=10.0.0.1:2": false,
		"redis://127.0.0.1:1":                         true, "nats://localhost:1": true, "redis://[::1]:1": true,
	} {
		result := clitest.Run(t, clitest.Env{}, "", "bench", "-p", shopProto, "Orders/Get", "--timeout", "200ms", "--bus", url)
		refused := strings.Contains(result.Stderr, "may not be on this machine")
		assert.Equal(t, allowed, !refused, result.Stderr)
		assert.NotContains(t, result.Stderr, "pa55w0rd")
		want := 2
		if allowed {
			want = 3
		}
		assert.Equal(t, want, result.Exit, url)
	}
}

func TestBench_PrintsWhatItHasWhenInterrupted(t *testing.T) {
	env := localEnv(t)
	ctx, interrupt := context.WithCancel(t.Context())
	env.Context = ctx
	var calls atomic.Int64
	serveShop(t, env.Bus, "shop-1", dynamic.WithServerRPCInterceptors(func(
		ctx context.Context, request proto.Message, _ dynamic.RPCInfo, handler dynamic.ServerRPCHandler,
	) (proto.Message, error) {
		if calls.Add(1) == 100 {
			interrupt()
		}
		return handler(ctx, request)
	}))
	result := clitest.Run(t, env, "", "bench", "-p", shopProto, "Orders/Get", "--warm-up", "0", "--for", "1h")
	assert.Equal(t, 130, result.Exit)
	assert.Contains(t, result.Stdout, "PER SECOND")
}
