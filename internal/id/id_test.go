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
		"CLI_": NewClient(), "SRV_": NewServer(), "REQ_": string(request[:]), "STR_": string(stream[:]),
	} {
		assert.Regexp(t, "^"+prefix+"[a-zA-Z0-9]{12}$", id)
	}
}

func TestNew_NoTwoAlike(t *testing.T) {
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

// A processor's calls share a part of each table, and their ids are random all the same.
func TestCall_ShardIsThatOfTheProcessor(t *testing.T) {
	t.Parallel()
	for own, letters := range lettersByShard {
		assert.GreaterOrEqual(t, len(letters), 2)
		for _, letter := range letters {
			assert.Equal(t, own, Call{prefixSize + randomSize - 1: letter}.Shard())
		}
	}
	same := 0
	for range 1000 {
		if own := shard.Current(); NewRequest().Shard() == own {
			same++
		}
	}
	assert.Greater(t, same, 500, "most often: one in sixteen would be by chance, and the race detector has pools forget one in four")
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
