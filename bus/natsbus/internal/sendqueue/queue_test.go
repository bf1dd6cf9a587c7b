package sendqueue_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus/natsbus/internal/sendqueue"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// The items of each goroutine must stay in order, and no two items may be sent at the same time.
func TestQueue_Send_KeepsTheOrder(t *testing.T) {
	t.Parallel()
	const goroutines, items = 4, 10 * sendqueue.MaxQueued
	type item struct{ goroutine, n int }
	var sending atomic.Int32
	sent := make([]int, goroutines) // number of items sent, indexed by goroutine
	q := sendqueue.New(func(i item) error {
		assert.EqualValues(t, 1, sending.Add(1))
		assert.Equal(t, sent[i.goroutine], i.n)
		sent[i.goroutine]++
		sending.Add(-1)
		return nil
	}, func(item, error) { assert.Fail(t, "nothing is lost") })
	var wg sync.WaitGroup
	for goroutine := range goroutines {
		wg.Go(func() {
			for n := range items {
				assert.NoError(t, q.Send(item{goroutine, n}))
			}
		})
	}
	wg.Wait()
	for _, n := range sent {
		require.Equal(t, items, n)
	}
}

// The sender gets the error of its own item. The error of an item of another goroutine goes to
// onLost, because that goroutine's call of Send has returned.
func TestQueue_Send_Errors(t *testing.T) {
	t.Parallel()
	errLost := errors.New("lost")
	started, proceed := make(chan struct{}), make(chan struct{})
	lost := map[string]error{}
	q := sendqueue.New(func(item string) error {
		if item == "first" {
			close(started)
			<-proceed
		}
		return errLost
	}, func(item string, err error) { lost[item] = err })
	first := make(chan error)
	go func() { first <- q.Send("first") }() // the test waits for first
	<-started
	require.NoError(t, q.Send("second"))
	close(proceed)
	require.ErrorIs(t, <-first, errLost)
	assert.Equal(t, map[string]error{"second": errLost}, lost)
}
