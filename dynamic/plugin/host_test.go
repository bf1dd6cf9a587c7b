package plugin_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestHost_LoadsReplacesAndUnloads(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	require.NoError(t, f.host.Load(t.Context(), f.plugin("greeter", "v 1")))
	f.event(plugin.Loaded, "greeter")
	f.requireVersion(hello, "v 1")

	folder := f.plugin("greeter", "v 2")
	require.NoError(t, f.host.Load(t.Context(), folder))
	f.event(plugin.Replaced, "greeter")
	f.requireVersion(hello, "v 2")
	f.awaitClosed(0)

	_, err := dynamic.Invoke(t.Context(), f.conn, hello, wrapperspb.String("fail"))
	require.Error(t, err)
	status := f.status("greeter")
	assert.Equal(t, plugin.Status{
		Name: "greeter", Version: "v 2", Loader: "test", Folder: folder, Digest: status.Digest, Services: []string{greeter},
		State: plugin.StateServing, Since: status.Since, Generation: 2, Handled: 3, Failed: 1,
	}, status)
	assert.Len(t, status.Digest, 64)
	assert.WithinDuration(t, time.Now(), status.Since, waitTimeout)

	require.NoError(t, f.host.Unload(t.Context(), "greeter"))
	f.event(plugin.Unloaded, "greeter")
	f.awaitClosed(1)
	_, err = f.call(hello)
	require.ErrorIs(t, err, errors.ErrNoResponse)
	assert.Empty(t, f.host.List())
	err = f.host.Unload(t.Context(), "greeter")
	assert.EqualError(t, err, "plugin greeter is not loaded")
}

func TestHost_DoesNotReloadTheSameContent(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	named := func(m *plugin.Manifest) { m.Name = "greeter" }
	require.NoError(t, f.host.Load(t.Context(), f.plugin("greeter", "v 1", named)))
	require.NoError(t, f.host.Load(t.Context(), f.plugin("greeter", "v 1", named)))
	other := f.plugin("elsewhere", "v 1", named)
	require.NoError(t, f.host.Load(t.Context(), other))
	assert.Equal(t, 1, f.loader.loaded())
	assert.Equal(t, other, f.status("greeter").Folder)

	f.write("greeter/greeting.proto", proto+"// changed\n")
	require.NoError(t, f.host.Load(t.Context(), f.root+"/greeter"))
	assert.Equal(t, 2, f.loader.loaded())
}

func TestHost_AFailureLeavesTheOldVersionServing(t *testing.T) {
	t.Parallel()
	for code, expected := range map[string]string{
		"broken":         "cannot load the code: invalid module",
		"panics":         "loader test panicked: nil module",
		"nothing":        "loader test returned neither an instance nor an error",
		"services-panic": "Services of the code panicked: no services",
		"nil-descriptor": "service 1 of the code has no descriptor",
		"serves-less":    "the code does not serve greeting.Greeter, a service of the manifest",
		"bad-handler":    "the handler does not fit",
		"refuses":        "service greeting.Parting: function Registered failed: topic refused",
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			both := services(greeter, parting)
			require.NoError(t, f.host.Load(t.Context(), f.plugin("greeter", "v 1", both)))
			f.event(plugin.Loaded, "greeter")

			err := f.host.Load(t.Context(), f.plugin("greeter", code, both))
			require.ErrorContains(t, err, "plugin greeter "+code+" in "+f.root)
			require.ErrorContains(t, err, expected)
			failed := f.event(plugin.Failed, "greeter")
			require.ErrorContains(t, failed.Err, expected)
			require.NotContains(t, failed.Err.Error(), f.root, "the event has the folder in a field")
			require.ErrorIs(t, err, failed.Err)
			f.requireVersion(hello, "v 1")
			f.requireVersion(bye, "v 1")
			status := f.status("greeter")
			assert.Equal(t, plugin.StateServing, status.State)
			assert.Equal(t, "v 1", status.Version)
			assert.Equal(t, err, status.Err)

			require.NoError(t, f.host.Load(t.Context(), f.plugin("greeter", "v 2", both)))
			f.event(plugin.Replaced, "greeter")
			f.requireVersion(hello, "v 2")
			f.requireVersion(bye, "v 2")
			require.NoError(t, f.status("greeter").Err)
			assert.Equal(t, 2, f.status("greeter").Generation)
			f.awaitClosed(0)
		})
	}
}

func TestHost_LoadReportsAnUnreadableFolder(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	folder := f.plugin("greeter", "v 1", func(m *plugin.Manifest) { m.Code = "lost" })
	err := f.host.Load(t.Context(), folder)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "plugin "+folder+": field code of plugin.json: ")
	f.event(plugin.Failed, "")
	assert.Equal(t, []plugin.Status{{
		Folder: folder, State: plugin.StateFailed, Since: f.host.List()[0].Since, Err: err,
	}}, f.host.List())

	err = f.host.Load(t.Context(), f.plugin("greeter", "v 1", func(m *plugin.Manifest) { m.Loader = "magic" }))
	require.ErrorContains(t, err, `field loader: the host has no loader "magic"; it has ["test"]`)
	f.event(plugin.Failed, "greeter")
	assert.Equal(t, plugin.StateFailed, f.status("greeter").State)
	require.NoError(t, f.host.Unload(t.Context(), "greeter"))
	assert.Empty(t, f.host.List())
}

func TestHost_RefusesAServiceThatAnotherPluginServes(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	require.NoError(t, f.host.Load(t.Context(), f.plugin("first", "v 1")))
	err := f.host.Load(t.Context(), f.plugin("second", "self 2"))
	require.ErrorContains(t, err, "is served by plugin first: unload that plugin")
	f.requireVersion(hello, "v 1")
	assert.Equal(t, plugin.StateFailed, f.status("second").State)

	require.NoError(t, f.host.Unload(t.Context(), "first"))
	require.NoError(t, f.host.Load(t.Context(), f.root+"/second"))
}

func TestHost_WireNamesComeFromTheManifest(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	require.NoError(t, f.host.Load(t.Context(), f.plugin("first", "v 1")))
	require.NoError(t, f.host.Load(t.Context(), f.plugin("second", "v 2", func(m *plugin.Manifest) {
		m.Services = []string{parting}
		m.WireNames = map[string]string{parting: "Farewell"}
	})))
	_, err := f.call(bye)
	require.ErrorIs(t, err, errors.ErrNoResponse)
	require.NoError(t, f.host.Load(t.Context(), f.plugin("second", "v 3", services(parting))))
	f.requireVersion(bye, "v 3")
}

func TestHost_ServicesComeAndGoWithVersions(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	for i, names := range [][]string{{greeter}, {greeter, parting}, {parting}, {greeter}, {parting, greeter}} {
		version := fmt.Sprintf("v %d", i)
		require.NoError(t, f.host.Load(t.Context(), f.plugin("greeter", version, services(names...))))
		if i > 0 {
			f.awaitClosed(i - 1)
		}
		for service, method := range map[string]string{greeter: hello, parting: bye} {
			if strings.Contains(strings.Join(names, " "), service) {
				f.requireVersion(method, version)
			} else {
				_, err := f.call(method)
				require.ErrorIs(t, err, errors.ErrNoResponse, "%s, version %d", method, i)
			}
		}
	}
}

func TestHost_ReportsDegradedCode(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	require.NoError(t, f.host.Load(t.Context(), f.plugin("greeter", "degrades at first")))
	f.event(plugin.Loaded, "greeter")
	assert.EqualError(t, f.event(plugin.Degraded, "greeter").Err, "no database")
	assert.Equal(t, plugin.StateDegraded, f.status("greeter").State)

	f.loader.instance(0).onHealth(nil)
	f.event(plugin.Recovered, "greeter")
	assert.Equal(t, plugin.StateServing, f.status("greeter").State)
	require.NoError(t, f.status("greeter").Err)
	f.loader.instance(0).onHealth(nil) // the health has not changed, so there is no event

	require.NoError(t, f.host.Unload(t.Context(), "greeter"))
	f.loader.instance(0).onHealth(errors.New("too late"))
	f.event(plugin.Unloaded, "greeter")
}

func TestHost_UsesTheCodesOwnCounter(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	require.NoError(t, f.host.Load(t.Context(), f.plugin("greeter", "counts 1")))
	f.requireVersion(hello, "counts 1")
	status := f.status("greeter")
	assert.Equal(t, []uint64{7, 3}, []uint64{status.Handled, status.Failed})
	require.NoError(t, f.host.Load(t.Context(), f.plugin("greeter", "counts 2")))
	f.awaitClosed(0)
	require.NoError(t, f.host.Load(t.Context(), f.plugin("greeter", "v 3")))
	f.awaitClosed(1)
	f.requireVersion(hello, "v 3")
	// The host adds the counts after it has closed the instance.
	require.Eventually(t, func() bool {
		status = f.status("greeter")
		return status.Handled == 15 && status.Failed == 6
	}, waitTimeout, time.Millisecond, "%+v", status)
}

// startWaiting starts a call whose handler waits until its context ends. It returns when the n-th
// instance handles the call.
func (f *fleet) startWaiting(n int) (failure <-chan error) {
	f.Helper()
	ended := make(chan error, 1)
	go func() { // the caller of startWaiting waits for this goroutine
		_, err := dynamic.Invoke(context.Background(), f.conn, hello, wrapperspb.String("wait"), dynamic.WithRequestTimeout(waitTimeout))
		ended <- err
	}()
	instance := f.loader.instance(n)
	require.Eventually(f, func() bool { return instance.handling.Load() > 0 }, waitTimeout, time.Millisecond)
	return ended
}

func TestHost_CancelsHandlersAfterTheDrainTimeout(t *testing.T) {
	t.Parallel()
	f := newFleet(t, plugin.WithDrainTimeout(50*time.Millisecond))
	require.NoError(t, f.host.Load(t.Context(), f.plugin("greeter", "v 1")))
	ended := f.startWaiting(0)
	require.NoError(t, f.host.Load(t.Context(), f.plugin("greeter", "v 2")))
	require.Error(t, <-ended)
	f.awaitClosed(0)
	f.requireVersion(hello, "v 2")
}

func TestHost_UnloadWaitsUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	require.NoError(t, f.host.Load(t.Context(), f.plugin("greeter", "close-panics")))
	ended := f.startWaiting(0)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := f.host.Unload(ctx, "greeter")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "plugin greeter was unloaded, but service greeting.Greeter: handlers were still running")
	require.ErrorContains(t, err, "Close of the code panicked: double free")
	require.Error(t, <-ended)
	assert.Empty(t, f.host.List())
}

func TestHost_ShutdownDrainsAndCloseDoesNot(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	require.NoError(t, f.host.Load(t.Context(), f.plugin("greeter", "v 1")))
	f.event(plugin.Loaded, "greeter")
	ended := f.startWaiting(0)
	shutdown := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { shutdown <- f.host.Shutdown(ctx) }()
	require.Eventually(t, func() bool { return f.status("greeter").State == plugin.StateDraining }, waitTimeout, time.Millisecond)
	require.ErrorIs(t, f.host.Load(t.Context(), f.root+"/greeter"), plugin.ErrHostClosed)
	require.ErrorIs(t, f.host.Watch(t.Context(), f.root), plugin.ErrHostClosed)
	require.ErrorIs(t, f.host.Unload(t.Context(), "greeter"), plugin.ErrHostClosed)
	require.Empty(t, ended)
	cancel()
	require.ErrorIs(t, <-shutdown, context.Canceled)
	require.Error(t, <-ended)
	f.event(plugin.Unloaded, "greeter")
	f.awaitClosed(0)
	f.host.Close()
}

func TestHost_ShutdownCancelsALoad(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	loading := make(chan error, 1)
	go func() { loading <- f.host.Load(context.Background(), f.plugin("greeter", "waits")) }()
	require.Eventually(t, func() bool { return f.loader.loaded() == 1 }, waitTimeout, time.Millisecond)
	assert.Equal(t, plugin.StateLoading, f.status("greeter").State)

	// The timeout leaves much more time than reading the folder takes, so that it expires during
	// the wait that follows.
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	err := f.host.Load(ctx, f.root+"/greeter")
	require.ErrorContains(t, err, "waiting for another load or unload")

	require.NoError(t, f.host.Shutdown(t.Context()))
	require.ErrorIs(t, <-loading, context.Canceled)
	assert.Empty(t, f.host.List())
}

func TestHost_ReplacesWithoutLosingACall(t *testing.T) {
	t.Parallel()
	const callers, calls, replacements = 8, 10_000, 20
	f := newFleet(t)
	require.NoError(t, f.host.Load(t.Context(), f.plugin("greeter", "v 100")))
	var failed, backwards sync.Map
	var calling sync.WaitGroup
	for caller := range callers {
		calling.Go(func() {
			last := ""
			for i := range calls / callers {
				version, err := f.call(hello)
				if err != nil {
					failed.Store([2]int{caller, i}, err)
				} else if version < last {
					backwards.Store([2]int{caller, i}, version+" after "+last)
				}
				last = version
			}
		})
	}
	for i := range replacements {
		require.NoError(t, f.host.Load(t.Context(), f.plugin("greeter", fmt.Sprintf("v %d", 101+i))))
	}
	calling.Wait()
	f.requireVersion(hello, fmt.Sprintf("v %d", 100+replacements))
	failed.Range(func(at, err any) bool { return assert.Fail(t, "a call failed", "%v: %v", at, err) })
	backwards.Range(func(at, what any) bool { return assert.Fail(t, "an older version answered", "%v: %v", at, what) })
	status := f.status("greeter")
	assert.Equal(t, 1+replacements, status.Generation)
}

func TestNewHost_ReportsAllProblems(t *testing.T) {
	t.Parallel()
	_, err := plugin.NewHost(nil, plugin.WithLoaders(&testLoader{}, nil, &testLoader{}))
	require.EqualError(t, err, "WithLoaders: loader 2 is nil\n"+
		"WithLoaders: two loaders have the name \"test\"\nserver is nil: a plugin host needs one")
}

func TestHost_LogsGRPCServicesOnceForEachVersion(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	f := newFleet(t, plugin.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	f.write("greeter/mixed.proto", mixedProto)
	for range 3 {
		require.NoError(t, f.host.Load(t.Context(), f.plugin("greeter", "v 1", func(m *plugin.Manifest) {
			m.Descriptors, m.Services = "mixed.proto", nil
		})))
	}
	assert.Equal(t, 1, strings.Count(log.String(), "greeting.Health"), log.String())
}
