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

// newContext returns a context that expires in 10 seconds, and the function that cancels its
// parent.
func newContext(t testing.TB) (*Context, context.CancelFunc) {
	t.Helper()
	parent, cancelParent := context.WithCancel(context.WithValue(context.Background(), contextKey{}, "value"))
	t.Cleanup(cancelParent)
	return &Context{Parent: parent, Expiry: time.Now().Add(10 * time.Second)}, cancelParent
}

// Each of these events must end a context, whether or not Done has been called before.
func TestContext_End(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end  func(c *Context, cancelParent context.CancelFunc)
		want error
	}{
		"expiry":          {func(*Context, context.CancelFunc) { <-time.After(10 * time.Second) }, context.DeadlineExceeded},
		"parent canceled": {func(_ *Context, cancelParent context.CancelFunc) { cancelParent() }, context.Canceled},
		"canceled":        {func(c *Context, _ context.CancelFunc) { c.Cancel() }, context.Canceled},
		"canceled, then parent canceled": {func(c *Context, cancelParent context.CancelFunc) {
			c.Cancel()
			cancelParent()
			c.Cancel()
		}, context.Canceled},
		"parent canceled, then expired": {func(_ *Context, cancelParent context.CancelFunc) {
			cancelParent()
			<-time.After(10 * time.Second)
		}, context.Canceled},
	} {
		for _, doneCalled := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					c, cancelParent := newContext(t)
					if doneCalled {
						requireOpen(t, c)
					}
					require.NoError(t, c.Err())
					tt.end(c, cancelParent)
					synctest.Wait()
					require.Equal(t, tt.want, c.Err())
					requireClosed(t, c)
					assert.Equal(t, tt.want, c.Err(), "the error does not change")
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

func TestContext_ExactExpiry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := newContext(t)
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

func TestContext_DoneIsOneChannel(t *testing.T) {
	t.Parallel()
	c, _ := newContext(t)
	first := c.Done()
	assert.Equal(t, first, c.Done())
	c.Cancel()
	assert.Equal(t, first, c.Done())
}

func TestContext_Value(t *testing.T) {
	t.Parallel()
	c, _ := newContext(t)
	for range 2 { // before and after the first call to Done
		assert.Equal(t, "value", c.Value(contextKey{}))
		assert.Nil(t, c.Value("another key"))
		c.Done()
	}
}

// Package context starts a goroutine for each child of a parent whose type it does not know. It
// must start none for the child of a Context, because Value gives it access to the inner context.
// The test is not parallel, because it counts goroutines.
func TestContext_ChildrenNeedNoGoroutines(t *testing.T) {
	c, _ := newContext(t)
	before := runtime.NumGoroutine()
	for range 1000 {
		_, cancel := context.WithCancel(c)
		defer cancel()
		_, cancel = context.WithTimeout(c, time.Hour)
		defer cancel()
	}
	assert.Less(t, runtime.NumGoroutine(), before+500)
}

func TestContext_Children(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := newContext(t)
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

func TestContext_AfterFunc(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, _ := newContext(t)
		called := make(chan struct{})
		context.AfterFunc(c, func() { close(called) })
		synctest.Wait()
		select {
		case <-called:
			require.FailNow(t, "called before the context ended")
		default:
		}
		c.Cancel()
		<-called
	})
}

// TestContext_ConcurrentUse calls all methods concurrently, so that the race detector can find data
// races.
func TestContext_ConcurrentUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, cancelParent := newContext(t)
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
		go cancelParent()
		synctest.Wait()
	})
}

func TestContext_ErrDoesNotChange(t *testing.T) {
	t.Run("expired, then canceled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := &Context{Parent: context.Background(), Expiry: time.Now().Add(time.Second)}
			<-time.After(time.Second)
			assert.Equal(t, context.DeadlineExceeded, c.Err())
			c.Cancel()
			assert.Equal(t, context.DeadlineExceeded, c.Err())
		})
	})
	t.Run("canceled, and Done is first called after the expiry", func(t *testing.T) {
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
