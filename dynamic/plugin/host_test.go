package plugin_test

import (
	"context"
	"fmt"
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
	w := newWorld(t)
	require.NoError(t, w.host.Load(t.Context(), w.plugin("greeter", "v 1")))
	w.event(plugin.Loaded, "greeter")
	w.requireVersion(hello, "v 1")

	folder := w.plugin("greeter", "v 2")
	require.NoError(t, w.host.Load(t.Context(), folder))
	w.event(plugin.Replaced, "greeter")
	w.requireVersion(hello, "v 2")
	w.awaitClosed(0)

	_, err := dynamic.Invoke(t.Context(), w.conn, hello, wrapperspb.String("fail"))
	require.Error(t, err)
	status := w.status("greeter")
	assert.Equal(t, plugin.Status{
		Name: "greeter", Version: "v 2", Loader: "test", Folder: folder, Digest: status.Digest, Services: []string{greeter},
		State: plugin.StateServing, Since: status.Since, Generation: 2, Handled: 3, Failed: 1,
	}, status)
	assert.Len(t, status.Digest, 64)
	assert.WithinDuration(t, time.Now(), status.Since, patience)

	require.NoError(t, w.host.Unload(t.Context(), "greeter"))
	w.event(plugin.Unloaded, "greeter")
	w.awaitClosed(1)
	_, err = w.call(hello)
	require.ErrorIs(t, err, errors.ErrNoResponse)
	assert.Empty(t, w.host.List())
	err = w.host.Unload(t.Context(), "greeter")
	assert.EqualError(t, err, "plugin greeter: there is none of that name")
}

func TestHost_DoesNotReloadTheSameContent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	named := func(m *plugin.Manifest) { m.Name = "greeter" }
	require.NoError(t, w.host.Load(t.Context(), w.plugin("greeter", "v 1", named)))
	require.NoError(t, w.host.Load(t.Context(), w.plugin("greeter", "v 1", named)))
	other := w.plugin("elsewhere", "v 1", named)
	require.NoError(t, w.host.Load(t.Context(), other))
	assert.Equal(t, 1, w.loader.loaded())
	assert.Equal(t, other, w.status("greeter").Folder)

	w.write("greeter/greeting.proto", proto+"// changed\n")
	require.NoError(t, w.host.Load(t.Context(), w.root+"/greeter"))
	assert.Equal(t, 2, w.loader.loaded())
}

func TestHost_AFailureLeavesTheOldVersionServing(t *testing.T) {
	t.Parallel()
	for code, expected := range map[string]string{
		"broken":         "its code cannot be loaded: it is broken",
		"panics":         "loader test panicked: out of order",
		"nothing":        "loader test returned neither code nor an error",
		"services-panic": "its code panicked: no services today",
		"nil-descriptor": "service 1 of its code has no descriptor",
		"serves-less":    "its code does not serve greeting.Greeter, a service of its manifest",
		"bad-handler":    "the handler does not fit",
		"refuses":        "service greeting.Parting: its function Registered failed: not with me",
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			both := services(greeter, parting)
			require.NoError(t, w.host.Load(t.Context(), w.plugin("greeter", "v 1", both)))
			w.event(plugin.Loaded, "greeter")

			err := w.host.Load(t.Context(), w.plugin("greeter", code, both))
			require.ErrorContains(t, err, "plugin greeter "+code+" in "+w.root)
			require.ErrorContains(t, err, expected)
			failed := w.event(plugin.Failed, "greeter")
			assert.Equal(t, err, failed.Err)
			w.requireVersion(hello, "v 1")
			w.requireVersion(bye, "v 1")
			status := w.status("greeter")
			assert.Equal(t, plugin.StateServing, status.State)
			assert.Equal(t, "v 1", status.Version)
			assert.Equal(t, err, status.Err)

			require.NoError(t, w.host.Load(t.Context(), w.plugin("greeter", "v 2", both)))
			w.event(plugin.Replaced, "greeter")
			w.requireVersion(hello, "v 2")
			w.requireVersion(bye, "v 2")
			require.NoError(t, w.status("greeter").Err)
			assert.Equal(t, 2, w.status("greeter").Generation)
			w.awaitClosed(0)
		})
	}
}

func TestHost_LoadSaysWhatIsWrongWithAFolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	folder := w.plugin("greeter", "v 1", func(m *plugin.Manifest) { m.Code = "lost" })
	err := w.host.Load(t.Context(), folder)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "plugin "+folder+": code (field code of plugin.json): ")
	w.event(plugin.Failed, "")
	assert.Equal(t, []plugin.Status{{
		Folder: folder, State: plugin.StateFailed, Since: w.host.List()[0].Since, Err: err,
	}}, w.host.List())

	err = w.host.Load(t.Context(), w.plugin("greeter", "v 1", func(m *plugin.Manifest) { m.Loader = "magic" }))
	require.ErrorContains(t, err, `field loader: this host has no loader "magic", but ["test"]`)
	w.event(plugin.Failed, "greeter")
	assert.Equal(t, plugin.StateFailed, w.status("greeter").State)
	require.NoError(t, w.host.Unload(t.Context(), "greeter"))
	assert.Empty(t, w.host.List())
}

func TestHost_RefusesAServiceThatAnotherPluginServes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.host.Load(t.Context(), w.plugin("first", "v 1")))
	err := w.host.Load(t.Context(), w.plugin("second", "self 2"))
	require.ErrorContains(t, err, "is served by plugin first: unload that first")
	w.requireVersion(hello, "v 1")
	assert.Equal(t, plugin.StateFailed, w.status("second").State)

	require.NoError(t, w.host.Unload(t.Context(), "first"))
	require.NoError(t, w.host.Load(t.Context(), w.root+"/second"))
}

func TestHost_WireNamesComeFromTheManifest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.host.Load(t.Context(), w.plugin("first", "v 1")))
	require.NoError(t, w.host.Load(t.Context(), w.plugin("second", "v 2", func(m *plugin.Manifest) {
		m.Services = []string{parting}
		m.WireNames = map[string]string{parting: "Farewell"}
	})))
	_, err := w.call(bye)
	require.ErrorIs(t, err, errors.ErrNoResponse)
	require.NoError(t, w.host.Load(t.Context(), w.plugin("second", "v 3", services(parting))))
	w.requireVersion(bye, "v 3")
}

func TestHost_ServicesComeAndGoWithVersions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, names := range [][]string{{greeter}, {greeter, parting}, {parting}, {greeter}, {parting, greeter}} {
		version := fmt.Sprintf("v %d", i)
		require.NoError(t, w.host.Load(t.Context(), w.plugin("greeter", version, services(names...))))
		if i > 0 {
			w.awaitClosed(i - 1)
		}
		for service, method := range map[string]string{greeter: hello, parting: bye} {
			if strings.Contains(strings.Join(names, " "), service) {
				w.requireVersion(method, version)
			} else {
				_, err := w.call(method)
				require.ErrorIs(t, err, errors.ErrNoResponse, "%s, version %d", method, i)
			}
		}
	}
}

func TestHost_TellsOfCodeThatFalters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.host.Load(t.Context(), w.plugin("greeter", "falters at first")))
	w.event(plugin.Loaded, "greeter")
	assert.EqualError(t, w.event(plugin.Degraded, "greeter").Err, "not yet")
	assert.Equal(t, plugin.StateDegraded, w.status("greeter").State)

	w.loader.code(0).notify(nil)
	w.event(plugin.Recovered, "greeter")
	assert.Equal(t, plugin.StateServing, w.status("greeter").State)
	require.NoError(t, w.status("greeter").Err)
	w.loader.code(0).notify(nil) // says nothing new

	require.NoError(t, w.host.Unload(t.Context(), "greeter"))
	w.loader.code(0).notify(errors.New("too late"))
	w.event(plugin.Unloaded, "greeter")
}

func TestHost_AsksCodeThatCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.host.Load(t.Context(), w.plugin("greeter", "counts 1")))
	w.requireVersion(hello, "counts 1")
	status := w.status("greeter")
	assert.Equal(t, []uint64{7, 3}, []uint64{status.Handled, status.Failed})
	require.NoError(t, w.host.Load(t.Context(), w.plugin("greeter", "counts 2")))
	w.awaitClosed(0)
	require.NoError(t, w.host.Load(t.Context(), w.plugin("greeter", "v 3")))
	w.awaitClosed(1)
	w.requireVersion(hello, "v 3")
	require.Eventually(t, func() bool { // the count is taken over after the code is closed
		status = w.status("greeter")
		return status.Handled == 15 && status.Failed == 6
	}, patience, time.Millisecond, "%+v", status)
}

// waiting starts a call that does not end by itself, and returns when it is being handled.
func (w *world) waiting(n int) (failure <-chan error) {
	w.Helper()
	ended := make(chan error, 1)
	go func() { // the caller waits for it
		_, err := dynamic.Invoke(context.Background(), w.conn, hello, wrapperspb.String("wait"), dynamic.WithRequestTimeout(patience))
		ended <- err
	}()
	code := w.loader.code(n)
	require.Eventually(w, func() bool { return code.handling.Load() > 0 }, patience, time.Millisecond)
	return ended
}

func TestHost_HandlersHaveUntilTheDrainTimeout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, plugin.WithDrainTimeout(50*time.Millisecond))
	require.NoError(t, w.host.Load(t.Context(), w.plugin("greeter", "v 1")))
	ended := w.waiting(0)
	require.NoError(t, w.host.Load(t.Context(), w.plugin("greeter", "v 2")))
	require.Error(t, <-ended)
	w.awaitClosed(0)
	w.requireVersion(hello, "v 2")
}

func TestHost_UnloadWaitsAsLongAsItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.host.Load(t.Context(), w.plugin("greeter", "close-panics")))
	ended := w.waiting(0)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := w.host.Unload(ctx, "greeter")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "plugin greeter: it was unloaded, but service greeting.Greeter: handlers were still running")
	require.ErrorContains(t, err, "its code panicked: not like this")
	require.Error(t, <-ended)
	assert.Empty(t, w.host.List())
}

func TestHost_ShutdownDrainsAndCloseDoesNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.host.Load(t.Context(), w.plugin("greeter", "v 1")))
	w.event(plugin.Loaded, "greeter")
	ended := w.waiting(0)
	shutdown := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { shutdown <- w.host.Shutdown(ctx) }()
	require.Eventually(t, func() bool { return w.status("greeter").State == plugin.StateDraining }, patience, time.Millisecond)
	require.ErrorIs(t, w.host.Load(t.Context(), w.root+"/greeter"), plugin.ErrHostClosed)
	require.ErrorIs(t, w.host.Watch(t.Context(), w.root), plugin.ErrHostClosed)
	require.ErrorIs(t, w.host.Unload(t.Context(), "greeter"), plugin.ErrHostClosed)
	require.Empty(t, ended)
	cancel()
	require.ErrorIs(t, <-shutdown, context.Canceled)
	require.Error(t, <-ended)
	w.event(plugin.Unloaded, "greeter")
	w.awaitClosed(0)
	w.host.Close()
}

func TestHost_ShutdownEndsALoadThatWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	loading := make(chan error, 1)
	go func() { loading <- w.host.Load(context.Background(), w.plugin("greeter", "waits")) }()
	require.Eventually(t, func() bool { return w.loader.loaded() == 1 }, patience, time.Millisecond)
	assert.Equal(t, plugin.StateLoading, w.status("greeter").State)

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := w.host.Load(ctx, w.root+"/greeter")
	require.ErrorContains(t, err, "another change of it is under way")

	require.NoError(t, w.host.Shutdown(t.Context()))
	require.ErrorIs(t, <-loading, context.Canceled)
	assert.Empty(t, w.host.List())
}

func TestHost_ReplacesWithoutLosingACall(t *testing.T) {
	t.Parallel()
	const callers, calls, replacements = 8, 10_000, 20
	w := newWorld(t)
	require.NoError(t, w.host.Load(t.Context(), w.plugin("greeter", "v 100")))
	var failed, backwards sync.Map
	var calling sync.WaitGroup
	for caller := range callers {
		calling.Go(func() {
			last := ""
			for i := range calls / callers {
				version, err := w.call(hello)
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
		require.NoError(t, w.host.Load(t.Context(), w.plugin("greeter", fmt.Sprintf("v %d", 101+i))))
	}
	calling.Wait()
	w.requireVersion(hello, fmt.Sprintf("v %d", 100+replacements))
	failed.Range(func(at, err any) bool { return assert.Fail(t, "a call failed", "%v: %v", at, err) })
	backwards.Range(func(at, what any) bool { return assert.Fail(t, "an older version answered", "%v: %v", at, what) })
	status := w.status("greeter")
	assert.Equal(t, 1+replacements, status.Generation)
}

func TestNewHost_ReportsWhatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := plugin.NewHost(nil, plugin.WithLoaders(&testLoader{}, nil, &testLoader{}))
	require.EqualError(t, err, "WithLoaders: loader 2 is nil\n"+
		"WithLoaders: there are two loaders of the name \"test\"\na plugin host needs a server")
}
