package natsbus

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// numbered is a delivery report that is identified by a number.
type numbered int

func (numbered) Delivered(int, error) {}

func TestReports_RemovedOnce(t *testing.T) {
	t.Parallel()
	r := newReports()
	first, second := r.add("a", numbered(1)), r.add("b", numbered(2))
	assert.Equal(t, numbered(2), r.remove(second))
	assert.Nil(t, r.remove(second))
	assert.Equal(t, numbered(1), r.remove(first))
	assert.Nil(t, r.remove(7), "never added")
}

func TestReports_OldestAreOverwritten(t *testing.T) {
	t.Parallel()
	r := newReports()
	for i := range maxReports + 10 {
		r.add("a", numbered(i+1))
	}
	assert.Nil(t, r.remove(10))
	assert.Equal(t, numbered(11), r.remove(11))
	assert.Equal(t, numbered(maxReports+10), r.remove(maxReports+10))
	assert.Len(t, r.failAll(), maxReports-2)
}

func TestReports_ConfirmDropsThePreviousGeneration(t *testing.T) {
	t.Parallel()
	r := newReports()
	previous := r.add("a", numbered(1))
	r.rotate()
	current := r.add("a", numbered(2))
	r.confirmPrevious()
	assert.True(t, r.pending())
	r.rotate()
	newest := r.add("a", numbered(3))
	r.confirmPrevious()
	assert.Nil(t, r.remove(previous))
	assert.Equal(t, numbered(2), r.remove(current))
	r.rotate()
	r.rotate()
	r.confirmPrevious()
	assert.Nil(t, r.remove(newest))
	assert.False(t, r.pending())
}

func TestReports_FirstAdded(t *testing.T) {
	t.Parallel()
	r := newReports()
	r.add("a", numbered(1))
	assert.Len(t, r.firstAdded, 1)
	<-r.firstAdded
	r.add("a", numbered(2))
	assert.Empty(t, r.firstAdded)
	r.failAll()
	r.add("a", numbered(3))
	assert.Len(t, r.firstAdded, 1)
}

// The method cancel must report whether Publish has to return the error itself. Otherwise, the
// delivery report has already received an error.
func TestReports_Cancel(t *testing.T) {
	t.Parallel()
	r := newReports()
	reported := r.add("a", numbered(1))
	assert.Equal(t, []bus.DeliveryReport{numbered(1)}, r.failAll())
	assert.Empty(t, r.failAll())
	assert.False(t, r.cancel(reported))

	fresh := r.add("a", numbered(2))
	assert.True(t, r.cancel(fresh))
	assert.Nil(t, r.remove(fresh))

	overwritten := r.add("a", numbered(3))
	for range maxReports {
		r.add("a", numbered(4))
	}
	assert.True(t, r.cancel(overwritten))
}

func TestReports_RemoveSubject(t *testing.T) {
	t.Parallel()
	r := newReports()
	r.add("a", numbered(1))
	b := r.add("b", numbered(2))
	r.add("a", numbered(3))
	assert.ElementsMatch(t, []bus.DeliveryReport{numbered(1), numbered(3)}, r.removeSubject("a"))
	assert.Empty(t, r.removeSubject("a"))
	assert.Equal(t, numbered(2), r.remove(b))
}

func TestParseReply(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]struct {
		forwarder string
		hops      int
		publisher string
	}{
		"":                                     {"", 0, ""},
		"_INBOX.A.1":                           {"", 0, "_INBOX.A.1"},
		"_INBOX.B.2.PASSED.3._INBOX.A.1":       {"_INBOX.B.2", 3, "_INBOX.A.1"},
		"_INBOX.B.2.PASSED.16":                 {"_INBOX.B.2", 16, ""},
		"a.PASSED.by":                          {"", 0, "a.PASSED.by"},
		"a.PASSED.-9.b":                        {"", 0, "a.PASSED.-9.b"},
		"prefix.x._INBOX.B.2.PASSED.1.p.A.b.1": {"prefix.x._INBOX.B.2", 1, "p.A.b.1"},
	} {
		forwarder, hops, publisher := parseReply(reply)
		assert.Equal(t, want.forwarder, forwarder, reply)
		assert.Equal(t, want.hops, hops, reply)
		assert.Equal(t, want.publisher, publisher, reply)
	}
}
