//go:build unix

package process_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/process"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestLoader_RunsAProgram(t *testing.T) {
	t.Setenv("DYNPSRPC_TEST_INHERITED", "yes")
	t.Setenv("DYNPSRPC_TEST_SECRET", "no")
	w := newWorld(t, process.WithInheritedEnv("DYNPSRPC_TEST_INHERITED"))
	require.NoError(t, w.host.Load(t.Context(), w.program("v1", func(m *plugin.Manifest) {
		m.Args, m.Env = []string{"-a", "b c"}, []string{"COLOUR=red"}
	})))
	version, err := w.call("")
	require.NoError(t, err)
	assert.Equal(t, "v1", version)

	environment, err := w.call("environment")
	require.NoError(t, err)
	for _, expected := range []string{
		"[-a b c]", "COLOUR=red", "DYNPSRPC_TEST_INHERITED=yes", "DYNPSRPC_PLUGIN=greeter", "DYNPSRPC_VERSION=v1", "DYNPSRPC_ABI=1",
		"DYNPSRPC_FOLDER=" + filepath.Join(w.root, "greeter"), "PATH=",
	} {
		assert.Contains(t, environment, expected)
	}
	assert.NotContains(t, environment, "SECRET")

	require.NoError(t, w.host.Unload(t.Context(), "greeter"))
	_, err = w.call("")
	require.ErrorIs(t, err, errors.ErrNoResponse)
}

func TestLoader_ReplacesWithoutLosingACall(t *testing.T) {
	t.Parallel()
	const callers, calls, replacements = 8, 10_000, 20
	w := newWorld(t)
	require.NoError(t, w.host.Load(t.Context(), w.program("v0")))
	var answered atomic.Int64
	var calling sync.WaitGroup
	replaced := make(chan struct{})
	for range callers {
		calling.Go(func() {
			for n := int64(0); ; n++ { // at least so many, and as long as there are replacements
				if n >= calls/callers {
					select {
					case <-replaced:
						return
					default:
					}
				}
				if _, err := w.call(""); !assert.NoError(t, err) {
					return
				}
				answered.Add(1)
			}
		})
	}
	for i := range replacements {
		require.NoError(t, w.host.Load(t.Context(), w.program(fmt.Sprintf("v%d", i+1))))
	}
	close(replaced)
	calling.Wait()
	assert.GreaterOrEqual(t, answered.Load(), int64(calls))
	require.NoError(t, w.host.Unload(t.Context(), "greeter")) // nothing of the versions before is left
	require.NoError(t, w.host.Load(t.Context(), w.program("v0")))
	version, err := w.call("")
	require.NoError(t, err)
	assert.Equal(t, "v0", version)
	t.Logf("%d calls", answered.Load())
}

func TestLoader_SaysWhyAProcessIsNotReady(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ script, expected string }{
		"exits": {"echo no config >&2; echo at all >&2; exit 3",
			"its process ended before it was ready: exit status 3; it wrote to stderr: no config\nat all"},
		"exits well":         {"exit 0", "its process ended before it was ready: exit status 0; it wrote nothing to stderr"},
		"is killed":          {"kill -9 $$", "its process ended before it was ready: signal: killed"},
		"is never ready":     {"echo waiting >&2; exec sleep 1000", "its process was not ready in time"},
		"cannot be run":      {"", "its code must be a program for " + runtime.GOOS},
		"has another host":   {`echo '{"dynpsrpc_ready":9}'; exec cat`, "it speaks version 9 with its host, which speaks version 1"},
		"is not JSON":        {`echo '{"dynpsrpc_ready":'; exec cat`, "its ready line cannot be read"},
		"serves nothing":     {`echo '{"dynpsrpc_ready":1}'; exec cat`, "its process does not serve greeting.Greeter, a service of its manifest"},
		"serves another":     {strings.ReplaceAll(ready, "greeting.Greeter", "x.Y") + "exec cat", "its process serves x.Y, which is not a service of its manifest"},
		"serves less":        {strings.ReplaceAll(ready, `"Hello"`, "") + "exec cat", "its process does not serve greeting.Greeter/Hello, which is in its descriptors"},
		"serves more":        {strings.ReplaceAll(ready, `"Hello"`, `"Hello","Bye"`) + "exec cat", "its process serves greeting.Greeter/Bye, which is not in its descriptors"},
		"has other names":    {strings.ReplaceAll(ready, `"methods"`, `"wire_name":"X","methods"`) + "exec cat", "its process serves greeting.Greeter as X on the bus, and by its manifest that is Greeter"},
		"ignores everything": {"trap '' TERM INT HUP; while :; do sleep 1; done", "its process was not ready in time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			timeout := patience
			if strings.Contains(test.expected, "in time") {
				timeout = 300 * time.Millisecond
			}
			w := newWorld(t, process.WithReadyTimeout(timeout))
			require.NoError(t, w.host.Load(t.Context(), w.script("v1", ready+"exec cat")))
			w.event(plugin.Loaded)
			folder := w.script("v2", test.script)
			if name == "cannot be run" {
				require.NoError(t, os.WriteFile(filepath.Join(folder, "run.sh"), []byte("\x7fELF"), 0o600))
			}
			err := w.host.Load(t.Context(), folder)
			require.ErrorContains(t, err, test.expected)
			w.event(plugin.Failed)
			status := w.host.List()[0]
			assert.Equal(t, "v1", status.Version)
			assert.Equal(t, plugin.StateServing, status.State)
		})
	}
}

func TestLoader_EndsAProcessWhoseLoadIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	loaded := make(chan error, 1)
	go func() { loaded <- w.host.Load(ctx, w.script("v1", "echo waiting; exec sleep 1000")) }()
	w.log.await(t, "line=waiting")
	cancel()
	require.ErrorIs(t, <-loaded, context.Canceled)
}

// It may have taken requests before it was found to be wrong.
func TestLoader_LetsAProcessFinishThatServesSomethingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	err := w.host.Load(t.Context(), w.script("v1", "trap '' TERM\necho '{\"dynpsrpc_ready\":1}'; cat; echo finished"))
	require.ErrorContains(t, err, "its process does not serve greeting.Greeter")
	w.log.await(t, "line=finished")
}

func TestLoader_RefusesLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	err := w.host.Load(t.Context(), w.program("v1", func(m *plugin.Manifest) { m.Limits.Memory = 1 }))
	require.ErrorContains(t, err, "field limits: a process has none")
}

func TestLoader_StartsACrashedProcessAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.host.Load(t.Context(), w.program("v1")))
	w.event(plugin.Loaded)
	for range 3 {
		_, err := w.call("exit")
		require.Error(t, err)
		degraded := w.event(plugin.Degraded)
		require.EqualError(t, degraded.Err, "its process has ended and is started again: exit status 7; it wrote to stderr: goodbye")
		w.event(plugin.Recovered)
		version, err := w.call("")
		require.NoError(t, err)
		assert.Equal(t, "v1", version)
	}
}

func TestLoader_TriesAgainUntilItIsClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mark := filepath.Join(w.root, "mark")
	require.NoError(t, w.host.Load(t.Context(), w.script("v1", "test -e '"+mark+"' && exit 5; touch '"+mark+"';"+ready)))
	w.event(plugin.Loaded)
	w.event(plugin.Degraded)
	for range 3 {
		require.ErrorContains(t, w.event(plugin.Degraded).Err, "its process ended before it was ready: exit status 5")
	}
	assert.Equal(t, plugin.StateDegraded, w.host.List()[0].State)
	require.NoError(t, w.host.Unload(t.Context(), "greeter"))
}

func TestLoader_EndsWholeGroupsWhenPatienceEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// Its descendant ignores signals too, and holds its output open.
	require.NoError(t, w.host.Load(t.Context(), w.script("v1",
		"trap '' TERM\n(trap '' TERM; while :; do sleep 1; done) &\necho descendant $!\n"+ready+"while :; do sleep 1; done")))
	w.log.await(t, "descendant")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := w.host.Unload(ctx, "greeter")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "its process did not end in time and was killed")

	_, after, _ := strings.Cut(w.log.content.String(), "descendant ")
	id, err := strconv.Atoi(strings.TrimRight(strings.Fields(after)[0], `"`))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return isGone(id) }, patience, time.Millisecond, "the descendant %d goes on", id)
}

// isGone is also true for a process that nobody has reaped yet.
func isGone(pid int) bool {
	state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || (err == nil && strings.Contains(string(state), ") Z "))
}

func TestLoader_StopsByTheEndOfInputOrASignal(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"input":  "trap '' TERM\n" + ready + "cat; echo over",
		"signal": "trap 'echo over; exit' TERM\n" + ready + "while :; do sleep 0.01; done",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			require.NoError(t, w.host.Load(t.Context(), w.script("v1", script)))
			require.NoError(t, w.host.Unload(t.Context(), "greeter"))
			w.log.await(t, "line=over")
		})
	}
}

func TestLoader_SurvivesAFlood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := "head -c 1000000 /dev/zero | tr '\\0' x; echo\n"
	require.NoError(t, w.host.Load(t.Context(), w.script("v1", long+ready+"exec yes flood")))
	w.log.await(t, "the plugin writes too much", "lines_dropped=", "xxx")
	require.NoError(t, w.host.Unload(t.Context(), "greeter"))
	assert.Less(t, w.log.content.Len(), 1_000_000)
}

func TestNewLoader_NeedsABusForProcesses(t *testing.T) {
	t.Parallel()
	for url, expected := range map[string]string{
		"local://":               "not local://",
		"nowhere":                "not ://",
		"redis://:secret\x7f@@:": "the URL of the bus cannot be parsed",
	} {
		_, err := process.NewLoader(url)
		require.ErrorContains(t, err, expected)
		assert.NotContains(t, err.Error(), "secret")
	}
}

// TestLoader_ProcessesEndWithTheirHost: this one heeds nothing, but the system knows.
func TestLoader_ProcessesEndWithTheirHost(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("processes that do not heed the end of their input go on here")
	}
	w := newWorld(t)
	folder := w.script("v1", "trap '' TERM\n"+ready+"echo pid=$$; while :; do sleep 1; done")
	binary, err := os.Executable()
	require.NoError(t, err)
	host := exec.CommandContext(t.Context(), binary)
	host.Env = append(os.Environ(), "TEST_HOST="+folder, "TMPDIR="+t.TempDir())
	output, err := host.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, host.Start())
	var pid int
	_, err = fmt.Fscanf(output, "pid=%d\n", &pid)
	require.NoError(t, err)
	require.NoError(t, host.Process.Kill())
	require.Error(t, host.Wait())
	require.Eventually(t, func() bool { return isGone(pid) }, patience, time.Millisecond, "process %d goes on", pid)
}
