package wasm

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestCall_RequestsOfAllSizes(t *testing.T) {
	t.Parallel()
	code := loadBytes(t, plugin.Limits{Instances: 1})
	for _, size := range []int{0, 1, minInputBuffer, minInputBuffer + 1, 0, 100_000, 3 << 20, 10, maxKeptInputBuffer, maxKeptInputBuffer + 1, 0} {
		request := strings.Repeat("x", size)
		response, err := code.call(t.Context(), "Echo", request)
		require.NoError(t, err, size)
		require.Equal(t, request, response)
	}
}

func TestCall_ErrorsOfTheHandlerReachTheCaller(t *testing.T) {
	t.Parallel()
	code := loadBytes(t, plugin.Limits{Instances: 1})
	for request, wanted := range map[string]struct {
		code errors.ErrorCode
		text string
	}{
		"not_found no such thing": {errors.NotFound, "no such thing"},
		"own_code_7 of mine":      {"own_code_7", "of mine"},
		" no code":                {errors.Unknown, "no code"},
		"uncoded":                 {errors.Unknown, "uncoded"},
		// If an error has no text, the caller receives the code as the text.
		"not_found ": {errors.NotFound, "not_found"},
		// The loader keeps the invalid byte. The server replaces it when it sends the error.
		"not_found \xff": {errors.NotFound, "\xff"},
	} {
		_, err := code.call(t.Context(), "Fail", request)
		coded := requireCode(t, wanted.code, err)
		assert.Equal(t, wanted.text, coded.Error())
	}
	requireSameInstance(t, code, 1)
	handled, failed := code.Counts()
	assert.EqualValues(t, 7, handled)
	assert.EqualValues(t, 6, failed)
}

func TestCall_ErrorWithWrongCodeIsAFault(t *testing.T) {
	t.Parallel()
	code := loadBytes(t, plugin.Limits{Instances: 1})
	for _, wrong := range []string{"UPPER", "a-b", strings.Repeat("a", maxCodeLength+1)} {
		requireSameInstance(t, code, 1)
		_, err := code.call(t.Context(), "Fail", wrong+" text")
		coded := requireCode(t, errors.Internal, err)
		assert.NotContains(t, coded.Error(), "text")
	}
	requireSameInstance(t, code, 1)
}

// requireSameInstance checks that an instance has counted n requests. A new instance would have
// counted fewer.
func requireSameInstance(t testing.TB, code *guestCode, n int) {
	t.Helper()
	response, err := code.call(t.Context(), "Count", "")
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(n), response)
}

func TestCall_FaultsReplaceTheInstance(t *testing.T) {
	t.Parallel()
	code := loadBytes(t, plugin.Limits{Instances: 1, Memory: 32 << 20})
	for _, fault := range []struct {
		method, request string
		code            errors.ErrorCode
		logged          string
	}{
		{"Exit", "0", errors.Internal, "status 0"},
		{"Exit", "3", errors.Internal, "status 3"},
		{"Throw", "", errors.Internal, "secret of the guest"},
		{"Goexit", "", errors.Internal, "deadlock"},
		{"Grow", "", errors.ResourceExhausted, "memory limit of 33554432 bytes"},
	} {
		requireSameInstance(t, code, 1)
		requireSameInstance(t, code, 2)
		_, err := code.call(t.Context(), fault.method, fault.request)
		coded := requireCode(t, fault.code, err)
		assert.NotContains(t, coded.Error(), "secret")
		assert.Contains(t, code.log.String(), fault.logged)
	}
	requireSameInstance(t, code, 1)
}

func TestCall_EndlessRecursionReplacesTheInstance(t *testing.T) {
	t.Parallel()
	code := loadBytes(t, plugin.Limits{Instances: 1, Memory: 32 << 20})
	_, err := code.call(t.Context(), "Overflow", "")
	// The stacks of a Go module are in its linear memory, so endless recursion exceeds the memory
	// limit.
	requireCode(t, errors.ResourceExhausted, err)
	requireSameInstance(t, code, 1)
}

func TestCall_PanicIsAnErrorAndKeepsTheInstance(t *testing.T) {
	t.Parallel()
	code := loadBytes(t, plugin.Limits{Instances: 1})
	requireSameInstance(t, code, 1)
	_, err := code.call(t.Context(), "Panic", "")
	coded := requireCode(t, errors.Internal, err)
	assert.Equal(t, "the handler of test.Bytes/Panic panicked", coded.Error())
	assert.Contains(t, code.log.String(), "secret of the guest")
	requireSameInstance(t, code, 2)
}

// TestCall_EndsWithItsTime checks that a module stops when the context of the call ends, both while
// the module is computing and while it is sleeping. The context has an earlier deadline than the
// plugin's timeout.
func TestCall_EndsWithItsTime(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Loop", "Sleep"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			code := loadBytes(t, plugin.Limits{Instances: 1, Timeout: plugin.Duration(time.Hour)})
			for i, end := range []struct {
				err  error
				code errors.ErrorCode
			}{{context.DeadlineExceeded, errors.DeadlineExceeded}, {context.Canceled, errors.Canceled}} {
				running := func() { code.awaitRunning(t, i+1) }
				err := endWhen(t, end.err, running, func(ctx context.Context) error {
					_, err := code.call(ctx, method, "")
					return err
				})
				requireCode(t, end.code, err)
				requireSameInstance(t, code, 1)
			}
		})
	}
}

// TestCall_EndsWithTheLimit checks that the plugin's timeout ends a call, even if the caller would
// wait longer.
func TestCall_EndsWithTheLimit(t *testing.T) {
	t.Parallel()
	for method, callerTimeout := range map[string]time.Duration{"Loop": 0, "Sleep": time.Hour} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			// Each subtest loads its own plugin, whose first instance is already running. Starting
			// another instance would count towards the timeout and, on a busy machine, might use
			// all of it.
			code := loadBytes(t, plugin.Limits{Instances: 1, Timeout: plugin.Duration(3 * time.Second)})
			ctx := t.Context()
			if callerTimeout > 0 {
				ctx = within(t, callerTimeout)
			}
			_, err := code.call(ctx, method, "")
			requireCode(t, errors.DeadlineExceeded, err)
			require.Eventually(t, func() bool {
				response, err := code.call(t.Context(), "Count", "")
				return err == nil && response == "1"
			}, time.Minute, time.Millisecond, "a new instance serves the calls after it")
		})
	}
}

func TestCall_ContextOfTheGuest(t *testing.T) {
	t.Parallel()
	code := loadBytes(t, plugin.Limits{Instances: 1, Timeout: plugin.Duration(time.Minute)})
	for timeout, most := range map[time.Duration]int{time.Hour: 60_000, 30 * time.Second: 30_000} {
		response, err := code.call(within(t, timeout), "Deadline", "")
		require.NoError(t, err)
		left, err := strconv.Atoi(response)
		require.NoError(t, err)
		assert.LessOrEqual(t, left, most)
		assert.Greater(t, left, most-20_000)
	}
	response, err := code.call(t.Context(), "Done", "")
	require.NoError(t, err)
	assert.Equal(t, context.DeadlineExceeded.Error(), response)
}

func TestCall_WaitsForAnInstance(t *testing.T) {
	t.Parallel()
	code := loadBytes(t, plugin.Limits{Instances: 1, Timeout: plugin.Duration(time.Hour)})
	ctx, cancel := context.WithCancel(t.Context())
	busy := make(chan error)
	go func() { // this goroutine ends below, when the call is canceled
		_, err := code.call(ctx, "Sleep", "")
		busy <- err
	}()
	code.awaitRunning(t, 1)
	_, err := code.call(within(t, 50*time.Millisecond), "Echo", "")
	requireCode(t, errors.ResourceExhausted, err)
	cancelled, cancelWaiting := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancelWaiting)
	_, err = code.call(cancelled, "Echo", "")
	requireCode(t, errors.Canceled, err)

	cancel()
	requireCode(t, errors.Canceled, <-busy)
	requireSameInstance(t, code, 1)
}

func TestCall_ContextThatHasEndedHarmsNoInstance(t *testing.T) {
	t.Parallel()
	code := loadBytes(t, plugin.Limits{Instances: 1})
	requireSameInstance(t, code, 1)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := code.call(ended, "Echo", "")
	requireCode(t, errors.Canceled, err)
	requireSameInstance(t, code, 2)
}

// TestCall_ManyAtOnce makes concurrent calls. Some of them cause faults, which must not affect the
// others.
func TestCall_ManyAtOnce(t *testing.T) {
	t.Parallel()
	code := loadBytes(t, plugin.Limits{Instances: 3, Timeout: plugin.Duration(time.Minute)})
	var callers sync.WaitGroup
	for caller := range 8 {
		callers.Go(func() {
			for n := range 30 {
				request := strings.Repeat(strconv.Itoa(caller), n*100)
				response, err := code.call(t.Context(), "Echo", request)
				if !assert.NoError(t, err) || !assert.Equal(t, request, response) {
					return
				}
				switch {
				case caller == 0 && n%10 == 0:
					_, err = code.call(t.Context(), "Exit", "1")
					requireCode(t, errors.Internal, err)
				case caller == 1 && n%10 == 0:
					_, err = code.call(within(t, 10*time.Millisecond), "Loop", "")
					assert.Error(t, err)
				}
			}
		})
	}
	callers.Wait()
	assert.LessOrEqual(t, len(code.pool.idle), 3)
	assert.Empty(t, code.pool.semaphore)
}

func TestCall_EndsWithTheCode(t *testing.T) {
	t.Parallel()
	loader, _ := newTestLoader(t)
	source := &plugin.Source{
		Content:  echoModule().with(exportCall, append(slices.Clone(endlessLoop), i64Const(0)...)...).encode(),
		Services: services(t, echoService),
	}
	loaded, err := loader.Load(t.Context(), source, nil)
	require.NoError(t, err)
	code := &guestCode{loadedPlugin: loaded.(*loadedPlugin)}
	ended := make(chan error)
	go func() { // this goroutine ends below, when the plugin is closed
		_, err := code.echo(t, "")
		ended <- err
	}()
	require.Eventually(t, func() bool { return len(code.pool.semaphore) == 1 }, time.Minute, time.Millisecond,
		"nobody says when an instance is taken")
	require.NoError(t, loaded.Close(t.Context()), "no host does that, while a handler runs")
	requireCode(t, errors.Internal, <-ended)
}

func TestCall_AfterClose(t *testing.T) {
	t.Parallel()
	loader, _ := newTestLoader(t)
	source := &plugin.Source{Content: echoModule().encode(), Services: services(t, echoService)}
	loaded, err := loader.Load(t.Context(), source, nil)
	require.NoError(t, err)
	code := &guestCode{loadedPlugin: loaded.(*loadedPlugin)}
	requireCode(t, errors.FailedPrecondition, loader.Close())
	require.NoError(t, loaded.Close(t.Context()))
	_, err = code.echo(t, "")
	requireCode(t, errors.Unavailable, err)
}
