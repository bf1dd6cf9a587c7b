package verbs_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/clitest"
)

// startVerb runs a verb in the background, and returns when the output of the verb contains the
// text ready. stop interrupts the verb and returns its result. wait waits until the verb
// ends without an interruption, and returns its result.
func startVerb(t *testing.T, env clitest.Env, ready string, args ...string) (stop, wait func() clitest.Result) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	env.Context = ctx
	started := make(chan struct{})
	var once sync.Once
	tee := env.OnOutput
	env.OnOutput = func(text string) {
		if tee != nil {
			tee(text)
		}
		if strings.Contains(text, ready) {
			once.Do(func() { close(started) })
		}
	}
	results := make(chan clitest.Result, 1)
	go func() { results <- clitest.Run(t, env, "", args...) }()
	select {
	case <-started:
	case result := <-results:
		cancel()
		t.Fatalf("the verb ended early: %+v", result)
	case <-time.After(time.Minute):
		cancel()
		t.Fatal("the verb has not started")
	}
	stop = func() clitest.Result {
		cancel()
		return <-results
	}
	wait = func() clitest.Result {
		defer cancel()
		return <-results
	}
	return stop, wait
}

// atNoon returns the time that verbs print in golden files.
func atNoon() time.Time { return time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC) }

func localEnv(t *testing.T) clitest.Env {
	t.Helper()
	b := bus.NewLocal()
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	return clitest.Env{Bus: b, Now: atNoon}
}

func TestServe_AnswersEveryKind(t *testing.T) {
	env := localEnv(t)
	stubs := filepath.Join(t.TempDir(), "stubs.yaml")
	require.NoError(t, os.WriteFile(stubs, []byte(`
stubs:
  - method: Orders/Get
    when: request.id == 7
    then: {id: 7, state: paid}
  - method: Orders/Get
    when: request.id == 400
    error: not_found:no such order
  - method: Orders/In
    then: "{'state': 'in ' + topic[0]}"
`), 0o600))
	stop, _ := startVerb(t, env, "1 server", "serve", "-p", shopProto, "--stub", stubs, "-t", "eu", "--seed", "3", "--every", "0")
	call := func(args ...string) string {
		// call uses the schema that the server sends.
		result := clitest.Run(t, env, "", append([]string{"call"}, args...)...)
		return result.Stdout + result.Stderr
	}
	assert.JSONEq(t, `{"id":"7","state":"paid"}`, call("Orders/Get", "id=7", "card=4111"))
	assert.Contains(t, call("Orders/Get", "id=400"), "no such order")
	assert.JSONEq(t, `{"state":"in eu"}`, call("Orders/In", "-t", "eu"))
	generated := call("Orders/Get", "id=8")
	assert.JSONEq(t, generated, call("Orders/Get", "id=8"))
	assert.Contains(t, call("Orders/All", "id=1"), "state")
	assert.Contains(t, call("Orders/Track", `{"id":1}`, "--expect", "1"), "state")
	clitest.Golden(t, "serve", stop())
}

func TestServe_PublishesUpdatesAndPrintsJSON(t *testing.T) {
	env := localEnv(t)
	stop, _ := startVerb(t, env, `"response"`, "serve", "-p", shopProto, "Orders", "--every", "1ms", "-o", "json", "-q=false",
		"-t", "eu,1")
	result := stop()
	assert.Equal(t, 0, result.Exit)
	assert.Contains(t, result.Stderr, "--topic eu,1: no method has topics of 2 parts")
	assert.Contains(t, result.Stdout, `{"time":"2026-01-02T12:00:00Z","method":"shop.Orders/Changes","source":"generated","response":{"id":"`)
}

func TestServe_Golden(t *testing.T) {
	stubs := filepath.Join(t.TempDir(), "stubs.yaml")
	require.NoError(t, os.WriteFile(stubs, []byte("stubs: [{method: Orders/Gett, then: {}}, {method: Orders/Get, then: {idd: 1}}]\n"), 0o600))
	for name, args := range map[string]string{
		"serve_no_schema":    "",
		"serve_no_service":   "-p " + shopProto + " Nope",
		"serve_bad_latency":  "-p " + shopProto + " --latency 5",
		"serve_bad_error":    "-p " + shopProto + " --error 1%:nope",
		"serve_bad_stubs":    "-p " + shopProto + " --stub " + stubs,
		"serve_no_stubs":     "-p " + shopProto + " --stub missing.yaml",
		"serve_no_recording": "--from missing.psrpc",
		"serve_no_bus":       "-p " + shopProto + " --bus nats://127.0.0.1:1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := localEnv(t)
			if name == "serve_no_bus" {
				env.Bus = nil
			}
			result := clitest.Run(t, env, "", append([]string{"serve"}, strings.Fields(args)...)...)
			clitest.Golden(t, name, result)
		})
	}
}
