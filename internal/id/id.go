package id

import (
	"math/rand/v2"

	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

const (
	alphabet   = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	prefixSize = 4
	randomSize = 12
)

// Call is the id of one request or stream, comparable and without a heap object of its own.
type Call [prefixSize + randomSize]byte

// Shard returns to which part of a table by ids this one belongs, less than [shard.Count]: of an id that was made here,
// that of the processor which made it. A call that stays on its processor shares no part with others.
func (c Call) Shard() int { return int(c[len(c)-1]) % shard.Count }

// NewClient returns a new client id.
func NewClient() string {
	id := withRandomSuffix("CLI_")
	return string(id[:])
}

// NewServer returns a new server id.
func NewServer() string {
	id := withRandomSuffix("SRV_")
	return string(id[:])
}

// NewRequest returns a new request id.
func NewRequest() Call { return onCurrentShard("REQ_") }

// NewStream returns a new stream id.
func NewStream() Call { return onCurrentShard("STR_") }

// ParseCall returns the id held by b; false if b is no id of ours.
func ParseCall(b []byte) (Call, bool) {
	if len(b) != len(Call{}) {
		return Call{}, false
	}
	return Call(b), true
}

// onCurrentShard returns a random id whose shard is the processor's own.
func onCurrentShard(prefix string) Call {
	id := withRandomSuffix(prefix)
	last := &id[len(id)-1]
	letters := lettersByShard[shard.Current()]
	*last = letters[int(*last)%len(letters)]
	return id
}

// lettersByShard are the letters that the ids of each shard may end with.
var lettersByShard = func() (of [shard.Count][]byte) {
	for _, letter := range []byte(alphabet) {
		of[letter%shard.Count] = append(of[letter%shard.Count], letter)
	}
	return of
}()

// pairTable are all pairs of letters: to take two at a time takes half as long.
var pairTable = func() (all [len(alphabet) * len(alphabet)][2]byte) {
	for i := range all {
		all[i] = [2]byte{alphabet[i/len(alphabet)], alphabet[i%len(alphabet)]}
	}
	return all
}()

// withRandomSuffix completes a prefix. The generator is the runtime's own, seeded by the system and safe for concurrent use.
func withRandomSuffix(prefix string) (id Call) {
	copy(id[:], prefix)
	for half := prefixSize; half < len(id); half += randomSize / 2 {
		n := rand.Uint64() //nolint:gosec // uniqueness is needed, secrecy is not: whoever is on the bus sees all ids
		for i := 0; i < randomSize/2; i += 2 {
			copy(id[half+i:], pairTable[n%uint64(len(pairTable))][:])
			n /= uint64(len(pairTable))
		}
	}
	return id
}
