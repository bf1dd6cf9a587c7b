package guest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestRequestContext_EndsAtTheDeadline(t *testing.T) {
	t.Parallel()
	over := &requestContext{deadline: time.Now().Add(-time.Second)}
	assert.ErrorIs(t, over.Err(), context.DeadlineExceeded)
	over.end()
	assert.ErrorIs(t, over.Err(), context.DeadlineExceeded, "it does not change its mind")

	near := &requestContext{deadline: time.Now().Add(10 * time.Millisecond)}
	<-near.Done()
	assert.ErrorIs(t, near.Err(), context.DeadlineExceeded)
}

func TestRequestContext_EndsWithTheRequest(t *testing.T) {
	t.Parallel()
	// asked says whether the context is used before the request ends.
	for _, asked := range []bool{true, false} {
		ctx := &requestContext{deadline: soon()}
		if asked {
			assert.NoError(t, ctx.Err())
			select {
			case <-ctx.Done():
				assert.Fail(t, "too early")
			default:
			}
		}
		ctx.end()
		<-ctx.Done()
		assert.ErrorIs(t, ctx.Err(), context.Canceled)
	}
}

func TestRequestContext_HasChildren(t *testing.T) {
	t.Parallel()
	ctx := &requestContext{deadline: soon()}
	child, cancel := context.WithCancel(context.WithValue(ctx, t, "value"))
	defer cancel()
	assert.Equal(t, "value", child.Value(t))
	assert.Nil(t, child.Value("other"))
	ctx.end()
	<-child.Done()
	assert.ErrorIs(t, child.Err(), context.Canceled)
}
