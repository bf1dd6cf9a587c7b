package dropcount_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/internal/dropcount"
)

func TestCounter_CountsByReasonAndLimitsReports(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c dropcount.Counter
		total, byReason := c.Frames()
		assert.Zero(t, total)
		assert.Nil(t, byReason)
		assert.EqualValues(t, 1, c.Add("OOM", 1, time.Second))
		assert.EqualValues(t, 0, c.Add("OOM", 2, time.Second))
		assert.EqualValues(t, 7, c.Add("NOPERM", 7, time.Second), "another reason")
		<-time.After(time.Second)
		assert.EqualValues(t, 3, c.Add("OOM", 1, time.Second), "with those that were not reported")
		total, byReason = c.Frames()
		assert.EqualValues(t, 11, total)
		assert.Equal(t, map[string]uint64{"OOM": 4, "NOPERM": 7}, byReason)
	})
}

// TestCounter_ManyReasons checks that a broker that reports many different reasons cannot make the
// counter grow without limit.
func TestCounter_ManyReasons(t *testing.T) {
	t.Parallel()
	var c dropcount.Counter
	for i := range 1000 {
		c.Add(fmt.Sprint("CODE", i), 1, time.Second)
	}
	total, byReason := c.Frames()
	assert.EqualValues(t, 1000, total)
	assert.Len(t, byReason, 33)
	assert.EqualValues(t, 1000-32, byReason["other"])
}
