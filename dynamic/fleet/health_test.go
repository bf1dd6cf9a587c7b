package fleet

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// TestHealth_Check checks the results of a check that succeeds, fails, panics and hangs.
func TestHealth_Check(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		results := make(chan func(ctx context.Context) error)
		s := newServed(t, WithErrorTexts(), WithCheck("database", 10*time.Second, func(ctx context.Context) error {
			select {
			case result := <-results:
				return result(ctx)
			case <-ctx.Done():
				return ctx.Err()
			}
		}))
		health := func() Health { return s.askOne(t, PartHealth).Health }
		assert.Equal(t, StatusUnknown, health().Status)
		want := func(status ServingStatus, text string, since time.Duration) {
			t.Helper()
			synctest.Wait()
			got := health()
			assert.Equal(t, status, got.Status)
			assert.Equal(t, status, got.Checks[0].Status)
			assert.Equal(t, text, got.Checks[0].Text)
			assert.Equal(t, since, time.Since(got.Checks[0].Since))
		}
		results <- func(context.Context) error { return nil }
		want(StatusServing, "", 0)
		results <- func(context.Context) error { return errors.New("no table") }
		want(StatusNotServing, "no table", 0)
		results <- func(context.Context) error { return errors.New("no rows") }
		want(StatusNotServing, "no rows", 10*time.Second)
		results <- func(context.Context) error { return nil }
		want(StatusServing, "", 0)

		hung := make(chan struct{})
		results <- func(context.Context) error { <-hung; return nil }
		want(StatusServing, "", 10*time.Second)
		<-time.After(10 * time.Second)
		want(StatusNotServing, "no result after 10s", 0)
		<-time.After(time.Minute)
		want(StatusNotServing, "no result after 10s", time.Minute)
		close(hung)
		want(StatusNotServing, "context deadline exceeded", time.Minute)
		results <- func(context.Context) error { panic("oh") }
		synctest.Wait()
		assert.Contains(t, health().Checks[0].Text, "the health check panicked: oh")
		results <- func(context.Context) error { return nil }
		want(StatusServing, "", 0)
	})
}

// TestHealth_CloseAbandonsCheck checks that Close waits for a check that hangs, but not forever.
func TestHealth_CloseAbandonsCheck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hung := make(chan struct{})
		s := newServed(t, WithCheck("database", time.Second, func(context.Context) error { <-hung; return nil }))
		synctest.Wait()
		started := time.Now()
		_ = s.status.Close()
		assert.LessOrEqual(t, time.Since(started), 2*closeTimeout)
		close(hung)
	})
}

func TestHealth_SetServing(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.status.SetServing("shop.Orders", false)
	health := s.askOne(t, PartHealth).Health
	assert.Equal(t, StatusServing, health.Status, "the server serves other services")
	assert.Equal(t, map[string]ServingStatus{"shop.Orders": StatusNotServing}, health.Services)
	s.status.SetServing("", false)
	assert.Equal(t, StatusNotServing, s.askOne(t, PartHealth).Health.Status)
	s.status.SetServing("", true)
	s.status.SetServing("shop.Orders", true)
	health = s.askOne(t, PartHealth).Health
	assert.Equal(t, StatusServing, health.Status)
	assert.Equal(t, map[string]ServingStatus{"shop.Orders": StatusServing}, health.Services)
}
