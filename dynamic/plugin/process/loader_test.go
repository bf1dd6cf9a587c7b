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
	f := newFleet(t, process.WithInheritedEnv("DYNPSRPC_TEST_INHERITED"))
	require.NoError(t, f.host.Load(t.Context(), f.program("v1", func(m *plugin.Manifest) {
		m.Args, m.Env = []string{"-a", "b c"}, []string{"COLOUR=red"}
	})))
	version, err := f.call("")
	require.NoError(t, err)
	assert.Equal(t, "v1", version)

	environment, err := f.call("environment")
	require.NoError(t, err)
	for _, expected := range []string{
		"[-a b c]", "COLOUR=red", "DYNPSRPC_TEST_INHERITED=yes", "DYNPSRPC_PLUGIN=greeter", "DYNPSRPC_VERSION=v1", "DYNPSRPC_ABI=1",
		"DYNPSRPC_FOLDER=" + filepath.Join(f.root, "greeter"), "PATH=",
	} {
		assert.Contains(t, environment, expected)
	}
	assert.NotContains(t, environment, "SECRET")
	assert.NotContains(t, environment, "DYNPSRPC_BUS=", "programs that handlers start would inherit it")

	require.NoError(t, f.host.Unload(t.Context(), "greeter"))
	_, err = f.call("")
	require.ErrorIs(t, err, errors.ErrNoResponse)
}

func TestLoader_ReplacesWithoutLosingACall(t *testing.T) {
	t.Parallel()
	const callers, calls, replacements = 8, 10_000, 20
	f := newFleet(t)
	require.NoError(t, f.host.Load(t.Context(), f.program("v0")))
	var answered atomic.Int64
	var calling sync.WaitGroup
	replaced := make(chan struct{})
	for range callers {
		calling.Go(func() {
			// The loop ends when all replacements are done and enough calls were made.
			for n := int64(0); ; n++ {
				if n >= calls/callers {
					select {
					case <-replaced:
						return
					default:
					}
				}
				if _, err := f.call(""); !assert.NoError(t, err) {
					return
				}
				answered.Add(1)
			}
		})
	}
	for i := range replacements {
		require.NoError(t, f.host.Load(t.Context(), f.program(fmt.Sprintf("v%d", i+1))))
	}
	close(replaced)
	calling.Wait()
	assert.GreaterOrEqual(t, answered.Load(), int64(calls))
	// After the unload, only the version that is loaded next can respond.
	require.NoError(t, f.host.Unload(t.Context(), "greeter"))
	require.NoError(t, f.host.Load(t.Context(), f.program("v0")))
	version, err := f.call("")
	require.NoError(t, err)
	assert.Equal(t, "v0", version)
	t.Logf("%d calls", answered.Load())
}

func TestLoader_ReportsWhyAProcessIsNotReady(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ script, expected string }{
		"exits": {"echo no config >&2; echo at all >&2; exit 3",
			"the process exited before it was ready: exit status 3; it wrote to stderr: no config\nat all"},
		"exits well":         {"exit 0", "the process exited before it was ready: exit status 0; it wrote nothing to stderr"},
		"is killed":          {"kill -9 $$", "the process exited before it was ready: signal: killed"},
		"is never ready":     {"echo waiting >&2; exec sleep 1000", "the process was not ready in time"},
		"cannot be run":      {"", "the code must be a program for " + runtime.GOOS},
		"has another host":   {`echo '{"dynpsrpc_ready":9}'; exec cat`, "the plugin uses protocol version 9, but the host uses version 1"},
		"is not JSON":        {`echo '{"dynpsrpc_ready":'; exec cat`, "cannot parse the ready line"},
		"serves nothing":     {`echo '{"dynpsrpc_ready":1}'; exec cat`, "the process does not serve greeting.Greeter, a service of the manifest"},
		"serves another":     {strings.ReplaceAll(ready, "greeting.Greeter", "x.Y") + "exec cat", "the process serves x.Y, which is not a service of the manifest"},
		"serves less":        {strings.ReplaceAll(ready, `"Hello"`, "") + "exec cat", "the process does not serve greeting.Greeter/Hello, which is in the descriptors"},
		"serves more":        {strings.ReplaceAll(ready, `"Hello"`, `"Hello","Bye"`) + "exec cat", "the process serves greeting.Greeter/Bye, which is not in the descriptors"},
		"has other names":    {strings.ReplaceAll(ready, `"methods"`, `"wire_name":"X","methods"`) + "exec cat", "the process serves greeting.Greeter with the wire name X, but its wire name in the manifest is Greeter"},
		"ignores everything": {"trap '' TERM INT HUP; while :; do sleep 1; done", "the process was not ready in time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			timeout := waitTimeout
			if strings.Contains(test.expected, "in time") {
				timeout = 5 * time.Second // the first version must be ready in this time
			}
			f := newFleet(t, process.WithReadyTimeout(timeout))
			require.NoError(t, f.host.Load(t.Context(), f.script("v1", ready+"exec cat")))
			f.event(plugin.Loaded)
			folder := f.script("v2", test.script)
			if name == "cannot be run" {
				require.NoError(t, os.WriteFile(filepath.Join(folder, "run.sh"), []byte("\x7fELF"), 0o600))
			}
			err := f.host.Load(t.Context(), folder)
			require.ErrorContains(t, err, test.expected)
			f.event(plugin.Failed)
			status := f.host.List()[0]
			assert.Equal(t, "v1", status.Version)
			assert.Equal(t, plugin.StateServing, status.State)
		})
	}
}

func TestLoader_StopsTheProcessOfACanceledLoad(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ctx, cancel := context.WithCancel(t.Context())
	loaded := make(chan error, 1)
	go func() { loaded <- f.host.Load(ctx, f.script("v1", "echo waiting; exec sleep 1000")) }()
	f.log.await(t, "line=waiting")
	cancel()
	require.ErrorIs(t, <-loaded, context.Canceled)
}

// A plugin with the wrong services may have received requests before the host rejects it. The host
// must let the plugin finish these requests.
func TestLoader_StopsAProcessWithWrongServicesGracefully(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	err := f.host.Load(t.Context(), f.script("v1", "trap '' TERM\necho '{\"dynpsrpc_ready\":1}'; cat; echo finished"))
	require.ErrorContains(t, err, "the process does not serve greeting.Greeter")
	f.log.await(t, "line=finished")
}

func TestLoader_RefusesLimits(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	err := f.host.Load(t.Context(), f.program("v1", func(m *plugin.Manifest) { m.Limits.Memory = 1 }))
	require.ErrorContains(t, err, "field limits: not supported for processes")
}

func TestLoader_RestartsACrashedProcess(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	require.NoError(t, f.host.Load(t.Context(), f.program("v1")))
	f.event(plugin.Loaded)
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		called := make(chan error, 1)
		go func() { // this goroutine ends below, when the call is canceled
			_, err := f.callWithin(ctx, "exit")
			called <- err
		}()
		degraded := f.event(plugin.Degraded)
		require.EqualError(t, degraded.Err, "the process exited and will be restarted: exit status 7; it wrote to stderr: goodbye")
		cancel()
		require.Error(t, <-called)
		f.event(plugin.Recovered)
		version, err := f.call("")
		require.NoError(t, err)
		assert.Equal(t, "v1", version)
	}
}

func TestLoader_RestartsUntilItIsClosed(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	mark := filepath.Join(f.root, "mark")
	require.NoError(t, f.host.Load(t.Context(), f.script("v1", "test -e '"+mark+"' && exit 5; touch '"+mark+"';"+ready)))
	f.event(plugin.Loaded)
	f.event(plugin.Degraded)
	for range 3 {
		require.ErrorContains(t, f.event(plugin.Degraded).Err, "the process exited before it was ready: exit status 5")
	}
	assert.Equal(t, plugin.StateDegraded, f.host.List()[0].State)
	require.NoError(t, f.host.Unload(t.Context(), "greeter"))
}

func TestLoader_KillsTheProcessGroupAtTheDeadline(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	// The descendant also ignores SIGTERM and keeps the output open.
	require.NoError(t, f.host.Load(t.Context(), f.script("v1",
		"trap '' TERM\n(trap '' TERM; while :; do sleep 1; done) &\necho descendant $!\n"+ready+"while :; do sleep 1; done")))
	f.log.await(t, "descendant")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := f.host.Unload(ctx, "greeter")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "the process did not exit in time and was killed")

	_, after, _ := strings.Cut(f.log.content.String(), "descendant ")
	id, err := strconv.Atoi(strings.TrimRight(strings.Fields(after)[0], `"`))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return hasExited(id) }, waitTimeout, time.Millisecond, "descendant %d is still running", id)
}

// hasExited reports whether a process has exited. A zombie counts as exited.
func hasExited(pid int) bool {
	state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || (err == nil && strings.Contains(string(state), ") Z "))
}

func TestLoader_StopsByEndOfInputOrSignal(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"input":  "trap '' TERM\n" + ready + "cat; echo over",
		"signal": "trap 'echo over; exit' TERM\n" + ready + "while :; do sleep 0.01; done",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			require.NoError(t, f.host.Load(t.Context(), f.script("v1", script)))
			require.NoError(t, f.host.Unload(t.Context(), "greeter"))
			f.log.await(t, "line=over")
		})
	}
}

func TestLoader_LimitsTheRateOfOutput(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	long := "head -c 1000000 /dev/zero | tr '\\0' x; echo\n"
	require.NoError(t, f.host.Load(t.Context(), f.script("v1", long+ready+"exec yes flood")))
	f.log.await(t, "plugin output exceeds the log rate limit", "lines_dropped=", "xxx")
	require.NoError(t, f.host.Unload(t.Context(), "greeter"))
	assert.Less(t, f.log.content.Len(), 1_000_000)
}

func TestNewLoader_NeedsABusThatProcessesReach(t *testing.T) {
	t.Parallel()
	for url, expected := range map[string]string{
		"local://":               "cannot reach the bus local://",
		"nowhere":                "cannot reach the bus ://",
		"redis://:secret\x7f@@:": "cannot parse the URL of the bus",
	} {
		_, err := process.NewLoader(url)
		require.ErrorContains(t, err, expected)
		assert.NotContains(t, err.Error(), "secret")
	}
}

// The plugin ignores signals and the end of its input, so the kernel must kill it when the host
// dies.
func TestLoader_ProcessesDieWithTheirHost(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux kills a process that ignores the end of its input")
	}
	f := newFleet(t)
	folder := f.script("v1", "trap '' TERM\n"+ready+"echo pid=$$; while :; do sleep 1; done")
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
	require.Eventually(t, func() bool { return hasExited(pid) }, waitTimeout, time.Millisecond, "process %d is still running", pid)
}
