package id

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

func TestNew_ShapeOfIDs(t *testing.T) {
	t.Parallel()
	request, stream := NewRequest(), NewStream()
	for prefix, id := range map[string]string{
		"CLI_": New(ClientPrefix), "": New(""), "long-prefix_": New("long-prefix_"), "SRV_": NewServer(), "REQ_": string(request[:]), "STR_": string(stream[:]),
	} {
		assert.Regexp(t, "^"+prefix+"[a-zA-Z0-9]{12}$", id)
	}
}

func TestNew_IDsAreUnique(t *testing.T) {
	t.Parallel()
	seen := map[Call]bool{}
	for range 100_000 {
		id := NewRequest()
		require.False(t, seen[id])
		seen[id] = true
	}
}

func TestNewRequest_DoesNotAllocate(t *testing.T) {
	assert.Zero(t, testing.AllocsPerRun(100, func() { _ = NewRequest() }))
}

// Most IDs that are created on one CPU must select the shard of that CPU. For each shard, there
// must be at least two possible last characters.
func TestCall_ShardOfTheCurrentProcessor(t *testing.T) {
	t.Parallel()
	for index, letters := range lettersByShard {
		assert.GreaterOrEqual(t, len(letters), 2)
		for _, letter := range letters {
			assert.Equal(t, index, Call{prefixSize + randomSize - 1: letter}.Shard())
		}
	}
	same := 0
	for range 1000 {
		if current := shard.Current(); NewRequest().Shard() == current {
			same++
		}
	}
	assert.Greater(t, same, 500, "chance would give one in sixteen; the race detector makes a sync.Pool drop one item in four")
}

func TestParseCall(t *testing.T) {
	t.Parallel()
	want := NewRequest()
	got, ok := ParseCall(want[:])
	assert.True(t, ok)
	assert.Equal(t, want, got)
	for _, bad := range []string{"", "REQ_", "REQ_abcdefghijklm"} {
		_, ok := ParseCall([]byte(bad))
		assert.False(t, ok, bad)
	}
}

func TestIsPlain(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]bool{
		"SRV_aZ09-": true, "_": true, "": false, "a b": false, "a.b": false, "ä": false, "a\x00": false, "[": false, "@": false, "`": false, "{": false,
	} {
		assert.Equal(t, want, IsPlain(id), id)
	}
}
