package verbs_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/clitest"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/recording"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet/tapfilter"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// permitAll permits every client everything that the other options offer.
var permitAll = fleet.WithAuthorize(func(context.Context, fleet.Verb) error { return nil })

// tappedEnv returns an environment with a server of shop.Orders that permits taps. watched receives a
// value when a client has begun to watch the server.
func tappedEnv(t *testing.T, opts ...fleet.ServeOption) (env clitest.Env, watched <-chan struct{}) {
	t.Helper()
	b := bus.NewLocal()
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	if opts == nil {
		opts = []fleet.ServeOption{permitAll, fleet.WithTap(fleet.Filters(tapfilter.Compile))}
	}
	log := make(watchLog, 1)
	server := serveShop(t, b, "shop-1", dynamic.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	status, err := fleet.Serve(server, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, status.Close()) })
	return clitest.Env{Bus: b, Now: atNoon}, log
}

// watchLog is a log handler for a server. It sends a value when a client has begun to watch the
// server.
type watchLog chan struct{}

func (l watchLog) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("a client watches")) {
		select {
		case l <- struct{}{}:
		default:
		}
	}
	return len(line), nil
}

// callShop calls a method of each kind except subscriptions. One of the calls fails.
func callShop(t *testing.T, env clitest.Env) {
	t.Helper()
	for _, call := range [][]string{
		{"call", "Orders/Get", "id=7", "card=4111"},
		{"call", "Orders/Get", "id=400"},
		{"call", "Orders/Best"},
		{"call", "Orders/All"},
		{"call", "Orders/In", "id=3", "-t", "eu"},
		{"call", "Orders/Track", `{"id":9}`, "--expect", "1"},
	} {
		clitest.Run(t, env, "", append(call, "-p", shopProto)...)
	}
}

// tapText replaces what differs from run to run in the output of tap, and makes columns two spaces
// apart.
func tapText(text string) string {
	text = regexp.MustCompile(`\d\d:\d\d:\d\d\.\d{3}`).ReplaceAllString(text, "CLOCK")
	text = clitest.IDs(clitest.Durations(text))
	return regexp.MustCompile(` {3,}`).ReplaceAllString(text, "  ")
}

func TestTap_ShowsCalls(t *testing.T) {
	for name, args := range map[string][]string{
		"tap":          nil,
		"tap_payloads": {"Orders/*", "--payloads", "-o", "wide"},
		"tap_claims":   {"Orders/Best", "--claims"},
		"tap_filter":   {"shop.Orders/*", "--filter", `code != ""`},
	} {
		t.Run(name, func(t *testing.T) {
			env, watched := tappedEnv(t)
			var printed atomic.Int64 // the lines of the standard output and the first one of the standard error
			watching := env
			watching.OnOutput = func(text string) { printed.Add(int64(strings.Count(text, "\n"))) }
			stop, _ := startVerb(t, watching, "watching", append([]string{"tap"}, args...)...)
			<-watched
			callShop(t, env)
			want := map[string]int{"tap": 9, "tap_payloads": 9, "tap_claims": 2, "tap_filter": 2}[name]
			// The events of the last call may still be on their way, so the test makes further
			// calls.
			require.Eventually(t, func() bool {
				clitest.Run(t, env, "", "call", "Orders/Get", "id=400", "-p", shopProto)
				clitest.Run(t, env, "", "call", "Orders/Best", "-p", shopProto)
				return printed.Load() > int64(want)+1
			}, time.Minute, time.Millisecond)
			result := stop()
			lines := strings.SplitAfter(result.Stdout, "\n")
			require.Greater(t, len(lines), want, result.Stdout)
			result.Stdout, result.Stderr = strings.Join(lines[:want], ""), strings.SplitAfter(result.Stderr, "\n")[0]
			// The lines are sorted, because a message may overtake the opening of its stream.
			clitest.Golden(t, name, result, tapText, clitest.Sorted)
		})
	}
}

func TestTap_JSON(t *testing.T) {
	env, watched := tappedEnv(t)
	_, wait := startVerb(t, env, "watching", "tap", "Orders/Get", "--payloads", "-o", "json", "--count", "2")
	<-watched
	clitest.Run(t, env, "", "call", "Orders/Get", "id=7", "card=4111", "-p", shopProto)
	clitest.Golden(t, "tap_json", wait(), clitest.IDs, clitest.Replace(`"time":"[^"]+"`, `"time":"T"`),
		clitest.Replace(`"request":"[^"]+"`, `"request":"R"`), clitest.Replace(`"duration_ns":\d+`, `"duration_ns":N`))
}

// A request and its response must be one line, and --count must count lines.
func TestTap_CountsLines(t *testing.T) {
	env, watched := tappedEnv(t)
	_, wait := startVerb(t, env, "watching", "tap", "Orders/Get", "--count", "2")
	<-watched
	for range 3 {
		clitest.Run(t, env, "", "call", "Orders/Get", "id=7", "-p", shopProto)
	}
	result := wait()
	assert.Equal(t, 0, result.Exit)
	assert.Equal(t, 2, strings.Count(result.Stdout, "\n"), result.Stdout)
	assert.Contains(t, result.Stderr, "# 2 events")
}

// The server in this test does not permit taps, like a server of psrpc. With --passive, its events
// must still be seen.
func TestTap_Passive(t *testing.T) {
	env, _ := tappedEnv(t, fleet.WithApp("shop", "1"))
	ctx, stop := context.WithCancel(t.Context())
	env.Context = ctx
	seen := make(chan struct{}, 1)
	shown := regexp.MustCompile(`Orders/Get .* not_found +\{"id":"400"\}`)
	env.OnOutput = func(text string) {
		if shown.MatchString(text) {
			select {
			case seen <- struct{}{}:
			default:
			}
		}
	}
	results := make(chan clitest.Result, 1)
	go func() {
		results <- clitest.Run(t, env, "", "tap", "Orders/Get", "--passive", "--yes", "--payloads", "-p", shopProto)
	}()
	// The tap may miss the first request or response of a client.
	conn, err := dynamic.NewConn(env.Bus, shopRegistry(t), dynamic.WithClientTimeout(time.Minute), dynamic.WithSelectionTimeout(time.Minute))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	for waiting := true; waiting; {
		_, err := dynamic.Invoke(t.Context(), conn, "shop.Orders/Get", map[string]any{"id": 400})
		require.ErrorIs(t, err, errors.NotFound)
		select {
		case <-seen:
			waiting = false
		default:
		}
	}
	stop()
	result := <-results
	assert.Regexp(t, shown, result.Stdout)
	assert.Contains(t, result.Stderr, "listening on the bus")
}

func TestTap_Golden(t *testing.T) {
	for name, c := range map[string]struct {
		opts []fleet.ServeOption
		args string
	}{
		"tap_not_permitted": {[]fleet.ServeOption{fleet.WithApp("shop", "1")}, ""},
		"tap_no_server":     {nil, "Rooms/*"},
		"tap_bad_pattern":   {nil, "["},
		"tap_refused":       {nil, "Orders --passive -p " + shopProto},
		"tap_no_names":      {nil, "--passive"},
		"tap_no_replica":    {nil, "Orders --replica redis://127.0.0.1:1 -p " + shopProto},
		"tap_bad_sample":    {nil, "--sample 2"},
		"tap_bad_filter":    {nil, "--filter code=="},
		"tap_no_filters":    {[]fleet.ServeOption{permitAll, fleet.WithTap()}, `--filter code!=""`},
		"record_no_server":  {nil, "FILE Rooms/*"},
		"record_no_file":    {nil, "missing/traffic.psrpc"},
		"record_exists":     {nil, shopProto},
	} {
		t.Run(name, func(t *testing.T) {
			verb, _, _ := strings.Cut(name, "_")
			path := filepath.Join(t.TempDir(), "traffic.psrpc")
			args := append([]string{verb}, strings.Fields(strings.ReplaceAll(c.args, "FILE", path))...)
			env, _ := tappedEnv(t, c.opts...)
			clitest.Golden(t, name, clitest.Run(t, env, "", args...), clitest.Replace(path, "FILE"))
			assert.NoFileExists(t, path)
		})
	}
}

// A file must be overwritten when the recording begins, but not if it cannot begin.
func TestRecord_Force(t *testing.T) {
	env, _ := tappedEnv(t)
	path := filepath.Join(t.TempDir(), "traffic.psrpc")
	old := bytes.Repeat([]byte("old"), 10_000)
	require.NoError(t, os.WriteFile(path, old, 0o644))
	assert.Equal(t, 4, clitest.Run(t, env, "", "record", path, "Rooms/*", "--force").Exit)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, old, content)

	clitest.Run(t, env, "", "record", path, "--force", "--for", "1ms")
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	_, cut, err := recording.Load(file)
	require.NoError(t, err)
	assert.False(t, cut)
	info, err := file.Stat()
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	assert.Less(t, info.Size(), int64(len(old)))
}

func TestRecord_WritesWhatReplayReads(t *testing.T) {
	env, watched := tappedEnv(t)
	path := filepath.Join(t.TempDir(), "traffic.psrpc")
	// A call has two events. The stream has one for its opening, two for its messages and one for
	// its end. There are also events for claims.
	_, wait := startVerb(t, env, "recording", "record", path, "Orders", "--for", "30s", "--count", "15")
	<-watched
	callShop(t, env)
	result := wait()
	clitest.Golden(t, "record", result, clitest.Replace(regexp.QuoteMeta(path), "FILE"))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	rec, cut, err := recording.Load(file)
	require.NoError(t, err)
	assert.False(t, cut)
	assert.Equal(t, "local", rec.Header.Bus)
	assert.Equal(t, []string{"debug_redact"}, rec.Header.Redacted)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.NotContains(t, string(content), "4111")
	clitest.Golden(t, "record_replay", clitest.Run(t, env, "", "replay", path, "--compare", "--speed", "max", "-c", "1"))
	clitest.Golden(t, "record_again", clitest.Run(t, env, "", "record", path), clitest.Replace(regexp.QuoteMeta(path), "FILE"))
}
