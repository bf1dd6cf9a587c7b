package lazyctx

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type contextKey struct{}

// newRequestContext is a context with 10 seconds to go, and what kills its server.
func newRequestContext(t testing.TB) (*Context, context.CancelFunc) {
	t.Helper()
	parent, kill := context.WithCancel(context.WithValue(context.Background(), contextKey{}, "value"))
	t.Cleanup(kill)
	return &Context{Parent: parent, Expiry: time.Now().Add(10 * time.Second)}, kill
}

// TestRequestContext_End checks each way to end, with Done asked for before and after.
func TestRequestContext_End(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end  func(c *Context, kill context.CancelFunc)
		want error
	}{
		"expiry":        {func(*Context, context.CancelFunc) { <-time.After(10 * time.Second) }, context.DeadlineExceeded},
		"killed":        {func(_ *Context, kill context.CancelFunc) { kill() }, context.Canceled},
		"handler ended": {func(c *Context, _ context.CancelFunc) { c.Cancel() }, context.Canceled},
		"handler ended, then killed": {func(c *Context, kill context.CancelFunc) {
			c.Cancel()
			kill()
			c.Cancel()
		}, context.Canceled},
		"killed, then expired": {func(_ *Context, kill context.CancelFunc) {
			kill()
			<-time.After(10 * time.Second)
		}, context.Canceled},
	} {
		for _, asked := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					c, kill := newRequestContext(t)
					if asked {
						requireOpen(t, c)
					}
					require.NoError(t, c.Err())
					tt.end(c, kill)
					synctest.Wait()
					require.Equal(t, tt.want, c.Err())
					requireClosed(t, c)
					assert.Equal(t, tt.want, c.Err(), "it stays")
					assert.Equal(t, tt.want, context.Cause(c))
				})
			})
		}
	}
}

func requireOpen(t testing.TB, ctx context.Context) {
	t.Helper()
	select {
	case <-ctx.Done():
		require.FailNow(t, "the context has ended", ctx.Err())
	default:
	}
}

func requireClosed(t testing.TB, ctx context.Context) {
	t.Helper()
	select {
	case <-ctx.Done():
	default:
		require.FailNow(t, "the context has not ended")
	}
}

func TestRequestContext_ExactExpiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := newRequestContext(t)
		deadline, ok := c.Deadline()
		require.True(t, ok)
		require.Equal(t, 10*time.Second, time.Until(deadline))
		<-time.After(10*time.Second - time.Nanosecond)
		require.NoError(t, c.Err())
		requireOpen(t, c)
		<-time.After(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, context.DeadlineExceeded, c.Err())
		requireClosed(t, c)
	})
}

func TestRequestContext_DoneIsOneChannel(t *testing.T) {
	t.Parallel()
	c, _ := newRequestContext(t)
	first := c.Done()
	assert.Equal(t, first, c.Done())
	c.Cancel()
	assert.Equal(t, first, c.Done())
}

func TestRequestContext_Value(t *testing.T) {
	t.Parallel()
	c, _ := newRequestContext(t)
	for range 2 { // before and after Done
		assert.Equal(t, "value", c.Value(contextKey{}))
		assert.Nil(t, c.Value("another key"))
		c.Done()
	}
}

// TestRequestContext_ChildrenNeedNoGoroutines: the standard library watches a context that it does not know with
// a goroutine for each child.
func TestRequestContext_ChildrenNeedNoGoroutines(t *testing.T) { // not parallel: it counts goroutines
	c, _ := newRequestContext(t)
	before := runtime.NumGoroutine()
	for range 1000 {
		_, cancel := context.WithCancel(c)
		defer cancel()
		_, cancel = context.WithTimeout(c, time.Hour)
		defer cancel()
	}
	assert.Less(t, runtime.NumGoroutine(), before+500)
}

func TestRequestContext_Children(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := newRequestContext(t)
		early, cancel := context.WithCancel(c)
		defer cancel()
		short, cancel := context.WithTimeout(c, time.Second)
		defer cancel()
		long, cancel := context.WithTimeout(c, time.Hour)
		defer cancel()
		detached := context.WithoutCancel(c)
		deadline, _ := long.Deadline()
		require.Equal(t, c.Expiry, deadline)

		<-time.After(time.Second)
		synctest.Wait()
		require.Equal(t, context.DeadlineExceeded, short.Err())
		require.NoError(t, long.Err())
		c.Cancel()
		requireClosed(t, early)
		requireClosed(t, long)
		require.Equal(t, context.Canceled, early.Err())
		require.NoError(t, detached.Err())

		late, cancel := context.WithCancel(c)
		defer cancel()
		requireClosed(t, late)
	})
}

func TestRequestContext_AfterFunc(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := newRequestContext(t)
		called := make(chan struct{})
		context.AfterFunc(c, func() { close(called) })
		synctest.Wait()
		select {
		case <-called:
			require.FailNow(t, "called too early")
		default:
		}
		c.Cancel()
		<-called
	})
}

// TestRequestContext_ManyGoroutines is for the race detector.
func TestRequestContext_ManyGoroutines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, kill := newRequestContext(t)
		for range 10 {
			go func() {
				<-c.Done()
				assert.Error(t, c.Err())
			}()
			go func() {
				_ = c.Err()
				_ = c.Value(contextKey{})
				_, _ = c.Deadline()
			}()
		}
		go c.Cancel()
		go kill()
		synctest.Wait()
	})
}

// What a context has said it does not take back.
func TestRequestContext_ErrStays(t *testing.T) {
	t.Run("expired, then the handler returns", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := &Context{Parent: context.Background(), Expiry: time.Now().Add(time.Second)}
			<-time.After(time.Second)
			assert.Equal(t, context.DeadlineExceeded, c.Err())
			c.Cancel()
			assert.Equal(t, context.DeadlineExceeded, c.Err())
		})
	})
	t.Run("the handler returned, and Done is asked for after the expiry", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := &Context{Parent: context.Background(), Expiry: time.Now().Add(time.Second)}
			c.Cancel()
			assert.Equal(t, context.Canceled, c.Err())
			<-time.After(time.Second)
			<-c.Done()
			assert.Equal(t, context.Canceled, c.Err())
		})
	})
}
