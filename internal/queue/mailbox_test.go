package queue

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestMailbox_Bounded(t *testing.T) {
	t.Parallel()
	m := NewMailbox[int](3)
	_, ok := m.Pop()
	assert.False(t, ok)
	assert.Empty(t, m.Wakeup)
	for i := range 3 {
		assert.True(t, m.Push(i))
	}
	assert.False(t, m.Push(3))
	assert.Len(t, m.Wakeup, 1)
	assert.Equal(t, 3, m.Len())
	item, ok := m.Pop()
	assert.True(t, ok)
	assert.Zero(t, item)
	assert.True(t, m.Push(4))
}

// For any sequence of Push and Pop, a Mailbox must behave like a slice of limited length.
func TestMailbox_BehavesLikeASlice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 40).Draw(t, "limit")
		m := NewMailbox[int](limit)
		var model []int
		for i, push := range rapid.SliceOf(rapid.Bool()).Draw(t, "steps") {
			if push {
				hasRoom := len(model) < limit
				require.Equal(t, hasRoom, m.Push(i))
				if hasRoom {
					model = append(model, i)
				}
				continue
			}
			item, ok := m.Pop()
			require.Equal(t, len(model) > 0, ok)
			if ok {
				require.Equal(t, model[0], item)
				model = model[1:]
			}
		}
	})
}
