package dynamic

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestMailbox_Bounded(t *testing.T) {
	t.Parallel()
	m := newMailbox[int](3)
	_, ok := m.pop()
	assert.False(t, ok)
	assert.Empty(t, m.wakeup)
	for i := range 3 {
		assert.True(t, m.push(i))
	}
	assert.False(t, m.push(3))
	assert.Len(t, m.wakeup, 1)
	item, ok := m.pop()
	assert.True(t, ok)
	assert.Zero(t, item)
	assert.True(t, m.push(4))
}

// TestMailbox_IsAQueue: whatever is put in and taken out, it behaves as a bounded queue does.
func TestMailbox_IsAQueue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 40).Draw(t, "limit")
		m := newMailbox[int](limit)
		var model []int
		for i, put := range rapid.SliceOf(rapid.Bool()).Draw(t, "steps") {
			if put {
				room := len(model) < limit
				require.Equal(t, room, m.push(i))
				if room {
					model = append(model, i)
				}
				continue
			}
			item, ok := m.pop()
			require.Equal(t, len(model) > 0, ok)
			if ok {
				require.Equal(t, model[0], item)
				model = model[1:]
			}
		}
	})
}
