package verbs_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/clitest"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/demo"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// greeterEnv returns an environment with two servers of the example service on a bus in this
// process.
func greeterEnv(t *testing.T) clitest.Env {
	t.Helper()
	b := bus.NewLocal()
	d, err := demo.Start(b, 2, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		d.Close()
		assert.NoError(t, b.Close())
	})
	return clitest.Env{Bus: b}
}

// goldenCase is a run of the command line whose output is in a golden file.
type goldenCase struct {
	name      string
	stdin     string
	args      string
	normalise []func(string) string
}

// runGolden runs each case in a subtest. The arguments are separated by spaces. A pair of single
// quotes stands for an empty argument.
func runGolden(t *testing.T, env clitest.Env, cases []goldenCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			args := strings.Fields(c.args)
			for i := range args {
				args[i] = strings.Replace(args[i], "''", "", 1)
			}
			clitest.Golden(t, c.name, clitest.Run(t, env, c.stdin, args...), c.normalise...)
		})
	}
}

func TestCall_Golden(t *testing.T) {
	t.Parallel()
	timed := []func(string) string{clitest.Durations}
	sorted := []func(string) string{clitest.Durations, clitest.Sorted}
	anyServer := []func(string) string{clitest.Replace(`greeter-\d`, "greeter-N"), clitest.Durations}
	runGolden(t, greeterEnv(t), []goldenCase{
		{name: "call_fields", args: "call Greeter/Hello name=Ada tags.x=1", normalise: anyServer},
		{name: "call_json", args: `call greeting.Greeter/Hello {"name":"Ada","language":"de"}`, normalise: anyServer},
		{name: "call_verbose", args: "call -v Greeter/Hello name=Ada", normalise: anyServer},
		{name: "call_stdin", args: "call Hello @-", stdin: "{\"name\":\"Ada\"}\n{\"name\":\"Grace\"}\n", normalise: anyServer},
		{name: "call_repeat", args: "call Hello name=Ada --repeat 2", normalise: anyServer},
		{name: "call_best", args: "call Best name=Ada"},
		{name: "call_server", args: "call Best name=Ada --server greeter-2"},
		{name: "call_server_unknown", args: "call Best name=Ada --server greeter-9 --timeout 1s", normalise: timed},
		{name: "call_multi", args: "call Greeter/All name=Ada", normalise: sorted},
		{name: "call_multi_verbose", args: "call Greeter/All name=Ada -v", normalise: sorted},
		{name: "call_multi_json", args: "call Greeter/All name=Ada -o json", normalise: sorted},
		{name: "call_multi_error", args: "call Greeter/All", normalise: sorted},
		{name: "call_topic", args: "call Greeter/In name=Ada -t us"},
		{name: "call_topic_nobody", args: "call Greeter/In name=Ada -t mars", normalise: timed},
		{name: "call_topic_missing", args: "call Greeter/In name=Ada"},
		{name: "call_topic_needless", args: "call Greeter/Hello name=Ada -t eu"},
		{name: "call_stream", args: `call Greeter/Chat {"name":"Ada"} {"name":"Grace"} --expect 2`, normalise: anyServer},
		{name: "call_stream_error", args: `call Greeter/Chat {}`, normalise: anyServer},
		{name: "call_error", args: "call Greeter/Hello name=Ada language=xx", normalise: anyServer},
		{name: "call_error_json", args: "call Greeter/Hello name=Ada language=xx -o json", normalise: anyServer},
		{name: "call_unknown_field", args: "call Greeter/Hello naem=Ada"},
		{name: "call_unknown_field_json", args: `call Greeter/Hello {"naem":"Ada"}`},
		{name: "call_unknown_field_allowed", args: `call Greeter/Hello {"naem":"x","name":"Ada"} --allow-unknown`, normalise: anyServer},
		{name: "call_wrong_type", args: `call Greeter/Hello {"name":7}`},
		{name: "call_not_json", args: "call Greeter/Hello Ada"},
		{name: "call_no_such_file", args: "call Greeter/Hello @missing.json"},
		{name: "call_subscription", args: "call Greeter/News"},
		{name: "call_no_method", args: "call Greeter/Helo name=Ada"},
		{name: "call_no_service", args: "call Orders/Get id=7"},
		{name: "call_map_not_json", args: "call Greeter/Hello name=Ada tags=abc"},
		{name: "call_repeated_stream", args: "call Greeter/Chat name=Ada --repeat 2"},
		{name: "call_bad_header", args: "call Greeter/Hello name=Ada -H authorization"},
		{name: "call_no_argument", args: "call"},
		{name: "call_bad_flag", args: "call Greeter/Hello --naem Ada"},
		{name: "call_emit_defaults", args: "call Greeter/Best name=Ada -p testdata/greeter_more.proto --emit-defaults"},
		{name: "help_call", args: "call --help"},
		{name: "describe_service", args: "describe Greeter", normalise: []func(string) string{clitest.Replace("digest [0-9a-f]{8}", "digest DIGEST")}},
		{name: "describe_method", args: "describe Greeter/In"},
		{name: "describe_message", args: "describe HelloRequest"},
		{name: "describe_template", args: "describe Greeter/Hello --template"},
		{name: "describe_json", args: "describe Greeter/All -o json"},
		{name: "describe_server", args: "describe greeter-2", normalise: []func(string) string{
			clitest.Replace("[0-9a-f]{8}  Hello", "DIGEST  Hello"), clitest.Replace("started .*", "started TIME"),
			clitest.Replace(`dynpsrpc v\S+ go\S+`, "dynpsrpc VERSION GO"), clitest.Replace("process .*", "process ..."),
		}},
		{name: "describe_server_json", args: "describe greeter-2 -o json", normalise: []func(string) string{
			clitest.Replace(`"digest":"[0-9a-f]+"`, `"digest":"DIGEST"`), clitest.Replace(`"started":"[^"]+"`, `"started":"TIME"`),
			clitest.Replace(`dynpsrpc v\S+ go[^"]+`, "dynpsrpc VERSION GO"), clitest.Replace(`"process":\{[^}]+\}`, `"process":{}`),
		}},
		{name: "describe_unknown", args: "describe Gretter"},
		{name: "publish_wrong_kind", args: "publish Greeter/Hello name=Ada"},
		{name: "subscribe_wrong_kind", args: "subscribe Greeter/Hello"},
		{name: "completion_unknown", args: "completion tcsh"},
		{name: "complete_methods", args: "__complete call Gre"},
		{name: "complete_package", args: "__complete subscribe greeting."},
		{name: "complete_format", args: "__complete call -o ''"},
	})
}

func TestBus_Golden(t *testing.T) {
	t.Parallel()
	secured := testenv.NATS(t, func(o *server.Options) { o.Username, o.Password = "ada", "pa55w0rd" })
	host := strings.TrimPrefix(secured.URL(), "nats://")
	address := clitest.Replace(`127\.0\.0\.1:\d+`, "ADDRESS")
	for name, run := range map[string]func(t *testing.T) clitest.Result{
		"bus_unreachable": func(t *testing.T) clitest.Result {
			return clitest.Run(t, clitest.Env{Vars: map[string]string{"PSRPC_BUS": "redis://127.0.0.1:1"}}, "", "call", "Greeter/Hello")
		},
		"bus_unreachable_json": func(t *testing.T) clitest.Result {
			return clitest.Run(t, clitest.Env{}, "", "call", "Greeter/Hello", "--bus", "nats://127.0.0.1:1", "-o", "json")
		},
		"bus_wrong_password": func(t *testing.T) clitest.Result {
			return clitest.Run(t, clitest.Env{}, "", "call", "Greeter/Hello", "--bus", "nats://ada:wrong@"+host)
		},
		"bus_wrong_url": func(t *testing.T) clitest.Result {
			return clitest.Run(t, clitest.Env{}, "", "call", "Greeter/Hello", "--bus", "http://"+host)
		},
		"bus_nobody": func(t *testing.T) clitest.Result {
			return clitest.Run(t, clitest.Env{Vars: map[string]string{"PSRPC_BUS": clitest.Patient("nats://ada:pa55w0rd@" + host)}}, "", "call", "Greeter/Hello")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result := run(t)
			assert.NotContains(t, result.Stderr, "pa55w0rd")
			clitest.Golden(t, name, result, address)
		})
	}
}

// If no server answers, call must use a cached schema, and its error must say so.
func TestCall_WrongPrefixWithCachedSchema(t *testing.T) {
	t.Parallel()
	url := testenv.NATS(t).URL()
	b, err := bus.Open(t.Context(), url)
	require.NoError(t, err)
	d, err := demo.Start(b, 1, nil)
	require.NoError(t, err)
	t.Cleanup(func() { d.Close(); assert.NoError(t, b.Close()) })
	env := clitest.Env{Vars: map[string]string{"PSRPC_BUS": clitest.Patient(url), "HOME": t.TempDir()}}
	clitest.Golden(t, "prefix_right", clitest.Run(t, env, "", "call", "Greeter/Hello", "name=Ada"))
	clitest.Golden(t, "prefix_wrong", clitest.Run(t, env, "", "call", "Greeter/Hello", "name=Ada", "--prefix", "other."),
		clitest.Durations, clitest.Replace("digest [0-9a-f]{8}", "digest DIGEST"))
}

func TestSubscribe_PrintsUpdates(t *testing.T) {
	t.Parallel()
	env := greeterEnv(t)
	subscribed := make(chan struct{})
	listening := env
	listening.OnOutput = func(text string) {
		if strings.Contains(text, "subscribed") {
			close(subscribed)
		}
	}
	results := make(chan clitest.Result, 1)
	go func() {
		results <- clitest.Run(t, listening, "", "subscribe", "Greeter/News", "--count", "3")
	}()
	<-subscribed
	clitest.Golden(t, "publish", clitest.Run(t, env, "", "publish", "Greeter/News", "text=one", "--count", "3", "--rate", "1000"))
	// The example service may publish an update in the meantime.
	clitest.Golden(t, "subscribe", <-results, clitest.Replace(`\{.*\}`, `{"text":"..."}`))
}

func TestSubscribe_EndsWhenInterrupted(t *testing.T) {
	t.Parallel()
	env := greeterEnv(t)
	ctx, interrupt := context.WithCancel(t.Context())
	env.Context = ctx
	env.OnOutput = func(text string) {
		if strings.Contains(text, "subscribed") {
			interrupt()
		}
	}
	result := clitest.Run(t, env, "", "subscribe", "Greeter/News")
	assert.Equal(t, 130, result.Exit)
	assert.NotContains(t, result.Stderr, "canceled")
}

// A verb that waits for the standard input must end when it is interrupted.
func TestCall_InterruptedWhileItWaitsForInput(t *testing.T) {
	t.Parallel()
	stdin, writer := io.Pipe()
	t.Cleanup(func() { assert.NoError(t, writer.Close()) })
	for _, args := range [][]string{
		{"call", "Greeter/Hello", "@-"}, {"publish", "Greeter/News", "@-"}, {"bench", "Greeter/Hello", "@-"},
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		env := greeterEnv(t)
		env.Context, env.Stdin = ctx, readFunc(func(p []byte) (int, error) {
			interrupt()
			return stdin.Read(p)
		})
		assert.Equal(t, 130, clitest.Run(t, env, "", args...).Exit, args)
	}
}

type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func TestCall_SchemaFromFiles(t *testing.T) {
	t.Parallel()
	env := greeterEnv(t)
	dir := t.TempDir()
	clitest.Golden(t, "describe_out", clitest.Run(t, env, "", "describe", "Greeter", "--out", dir), clitest.Replace(dir, "DIR"))
	result := clitest.Run(t, env, "", "call", "Greeter/Best", "name=Ada", "-p", filepath.Join(dir, "*.proto"))
	clitest.Golden(t, "call_from_files", result)
	// The schema from a file must take precedence over that of the servers.
	source, err := os.ReadFile(filepath.Join(dir, "greeter.proto"))
	require.NoError(t, err)
	changed := strings.Replace(string(source), "string text = 1", "string renamed = 1", 1)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "greeter.proto"), []byte(changed), 0o600))
	clitest.Golden(t, "call_from_changed_file", clitest.Run(t, env, "", "call", "Greeter/Best", "name=Ada", "-p", filepath.Join(dir, "greeter.proto")))
	clitest.Golden(t, "call_missing_file", clitest.Run(t, env, "", "call", "Greeter/Best", "name=Ada", "-p", "missing.proto"))
	clitest.Golden(t, "call_not_in_file", clitest.Run(t, env, "", "call", "Orders/Get", "-p", filepath.Join(dir, "greeter.proto")), clitest.Replace(dir, "DIR"))
}

func TestContext_Golden(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	env := clitest.Env{Vars: map[string]string{"HOME": home}}
	replaceHome := clitest.Replace(home, "HOME")
	for _, step := range []struct{ name, args string }{
		{"context_empty", "context ls"},
		{"context_show_none", "context show"},
		{"context_add", "context add dev --bus redis://127.0.0.1:6379 --prefix dev:"},
		{"context_add_secret", "context add prod --bus nats://ada:pa55w0rd@nats:4222 --readonly -H authorization:topsecret --timeout 5s"},
		{"context_add_no_bus", "context add other"},
		{"context_list", "context ls"},
		{"context_list_json", "context ls -o json"},
		{"context_use", "context use prod"},
		{"context_use_unknown", "context use prd"},
		{"context_show", "context show"},
		{"context_show_json", "context show dev -o json"},
		{"context_readonly", "call Greeter/Hello name=Ada"},
		{"context_unknown", "call Greeter/Hello --context prd"},
		{"context_complete", "__complete --context p"},
		{"context_rm", "context rm prod"},
		{"context_list_after", "context ls -o name"},
	} {
		result := clitest.Run(t, env, "", strings.Fields(step.args)...)
		assert.NotContains(t, result.Stdout+result.Stderr, "pa55w0rd", step.name)
		assert.NotContains(t, result.Stdout+result.Stderr, "topsecret", step.name)
		clitest.Golden(t, step.name, result, replaceHome)
	}
	file := filepath.Join(home, ".config", "psrpc", "config.yaml")
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.NoError(t, os.Chmod(file, 0o644))
	clitest.Golden(t, "context_readable", clitest.Run(t, env, "", "context", "ls"), replaceHome)
}

func TestMan_WritesAPageForEachVerb(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	clitest.Golden(t, "man", clitest.Run(t, clitest.Env{}, "", "man", dir), clitest.Replace(dir, "DIR"))
	page, err := os.ReadFile(filepath.Join(dir, "psrpc-call.1"))
	require.NoError(t, err)
	assert.Contains(t, string(page), "emit-defaults")
}

func TestCompletion_PrintsScripts(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		result := clitest.Run(t, clitest.Env{}, "", "completion", shell)
		assert.Equal(t, 0, result.Exit)
		assert.Contains(t, result.Stdout, "__complete", shell)
	}
}

func TestUp_ServesTheExample(t *testing.T) {
	t.Parallel()
	announcement, stop := startUp(t)
	url := strings.Fields(announcement)[1]
	address := clitest.Replace(`127\.0\.0\.1:\d+`, "ADDRESS")
	clitest.Golden(t, "up_call", clitest.Run(t, clitest.Env{}, "", "--bus", clitest.Patient(url), "call", "Greeter/Best", "name=Ada"))
	clitest.Golden(t, "up_twice", clitest.Run(t, clitest.Env{}, "", "up", "--listen", strings.TrimPrefix(url, "nats://")), address)
	token := clitest.Replace(`token=\w+`, "token=TOKEN")
	clitest.Golden(t, "up", stop(), address, token, clitest.DropLateAnswers)
	_, stop = startUp(t, "-o", "json")
	clitest.Golden(t, "up_json", stop(), address, token, clitest.DropLateAnswers)
}

// announcement returns a channel that receives the first output that contains part. It must be
// called before a run with env begins.
func announcement(env *clitest.Env, part string) <-chan string {
	announced := make(chan string, 1)
	env.OnOutput = func(text string) {
		if !strings.Contains(text, part) {
			return
		}
		select {
		case announced <- text:
		default: // this is not the first one
		}
	}
	return announced
}

// startUp runs the verb up on free ports until stop is called. announced is what the verb prints about
// its addresses.
func startUp(t *testing.T, args ...string) (announced string, stop func() clitest.Result) {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	env := clitest.Env{Context: ctx}
	addresses := announcement(&env, "monitor")
	results := make(chan clitest.Result, 1)
	args = append([]string{"up", "--listen", "127.0.0.1:0", "--monitor", "127.0.0.1:0", "--http", "127.0.0.1:0"}, args...)
	go func() { results <- clitest.Run(t, env, "", args...) }()
	return <-addresses, func() clitest.Result {
		interrupt()
		return <-results
	}
}
