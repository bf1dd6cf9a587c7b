package dynamic_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// A selection without a time limit runs until the call times out. If servers have claimed the
// request, the call must report the timeout, and not that there is no server.
func TestSelection_TimeEndsWithClaims(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.useDefaultTimeouts(t)
		w.serve(t, dynamic.Handlers{"Best": identity[text]()})
		start := time.Now()
		_, err := w.call(t, best, "hi", dynamic.WithSelectionOpts(dynamic.SelectionOpts{}))
		requireCode(t, errors.DeadlineExceeded, err)
		facts, _ := errors.FactsOf(err)
		assert.Equal(t, errors.ReasonDeadline, facts.Reason)
		assert.Equal(t, 1, facts.Claims)
		assert.Equal(t, dynamic.DefaultClientTimeout, time.Since(start))
	})
}
