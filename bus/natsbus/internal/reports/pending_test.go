package reports_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus/internal/reports"
)

// numbered is a delivery report that is identified by a number.
type numbered int

func (numbered) Delivered(int, error) {}

func TestPending_RemovedOnce(t *testing.T) {
	t.Parallel()
	r := reports.New()
	first, second := r.Add("a", numbered(1)), r.Add("b", numbered(2))
	assert.Equal(t, numbered(2), r.Remove(second))
	assert.Nil(t, r.Remove(second))
	assert.Equal(t, numbered(1), r.Remove(first))
	assert.Nil(t, r.Remove(7), "never added")
}

func TestPending_OldestAreOverwritten(t *testing.T) {
	t.Parallel()
	r := reports.New()
	for i := range reports.Capacity + 10 {
		r.Add("a", numbered(i+1))
	}
	assert.Nil(t, r.Remove(10))
	assert.Equal(t, numbered(11), r.Remove(11))
	assert.Equal(t, numbered(reports.Capacity+10), r.Remove(reports.Capacity+10))
	assert.Len(t, r.FailAll(), reports.Capacity-2)
}

func TestPending_ConfirmDropsThePreviousGeneration(t *testing.T) {
	t.Parallel()
	r := reports.New()
	previous := r.Add("a", numbered(1))
	r.Rotate()
	current := r.Add("a", numbered(2))
	r.ConfirmPrevious()
	assert.True(t, r.Any())
	r.Rotate()
	newest := r.Add("a", numbered(3))
	r.ConfirmPrevious()
	assert.Nil(t, r.Remove(previous))
	assert.Equal(t, numbered(2), r.Remove(current))
	r.Rotate()
	r.Rotate()
	r.ConfirmPrevious()
	assert.Nil(t, r.Remove(newest))
	assert.False(t, r.Any())
}

func TestPending_FirstAdded(t *testing.T) {
	t.Parallel()
	r := reports.New()
	r.Add("a", numbered(1))
	assert.Len(t, r.FirstAdded(), 1)
	<-r.FirstAdded()
	r.Add("a", numbered(2))
	assert.Empty(t, r.FirstAdded())
	r.FailAll()
	r.Add("a", numbered(3))
	assert.Len(t, r.FirstAdded(), 1)
}

// Cancel must report whether Publish has to return the error itself. If FailAll has already
// returned the report, Publish must not return the error, because the report receives one.
func TestPending_Cancel(t *testing.T) {
	t.Parallel()
	r := reports.New()
	reported := r.Add("a", numbered(1))
	assert.Equal(t, []bus.DeliveryReport{numbered(1)}, r.FailAll())
	assert.Empty(t, r.FailAll())
	assert.False(t, r.Cancel(reported))

	fresh := r.Add("a", numbered(2))
	assert.True(t, r.Cancel(fresh))
	assert.Nil(t, r.Remove(fresh))

	overwritten := r.Add("a", numbered(3))
	for range reports.Capacity {
		r.Add("a", numbered(4))
	}
	assert.True(t, r.Cancel(overwritten))
}

func TestPending_RemoveSubject(t *testing.T) {
	t.Parallel()
	r := reports.New()
	r.Add("a", numbered(1))
	b := r.Add("b", numbered(2))
	r.Add("a", numbered(3))
	assert.ElementsMatch(t, []bus.DeliveryReport{numbered(1), numbered(3)}, r.RemoveSubject("a"))
	assert.Empty(t, r.RemoveSubject("a"))
	assert.Equal(t, numbered(2), r.Remove(b))
}

func TestPending_Replace(t *testing.T) {
	t.Parallel()
	r := reports.New()
	token := r.Add("a", numbered(1))
	r.Replace(token, "b", numbered(2))
	assert.Equal(t, "b", r.Subject(token))
	assert.Equal(t, numbered(2), r.Remove(token))
	r.Replace(token, "c", numbered(3))
	assert.Nil(t, r.Remove(token), "a report that is no longer pending is not replaced")
	assert.Equal(t, "b", r.Subject(token), "the subject is known after the report has been removed")
	assert.Empty(t, r.Subject(token+1))
}
