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

// Call is the id of one request or stream. It is an array: comparable, and stored without a heap
// allocation of its own.
type Call [prefixSize + randomSize]byte

// Shard returns the index, less than [shard.Count], of the shard of a table in which the call is
// stored. For an id created by this process it is the shard of the processor that created the id,
// so calls that stay on their processor do not share a shard with calls on other processors.
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

// ParseCall converts b to a Call. It returns false if b does not have the length of the ids that
// this package creates, as ids of other implementations may.
func ParseCall(b []byte) (Call, bool) {
	if len(b) != len(Call{}) {
		return Call{}, false
	}
	return Call(b), true
}

// onCurrentShard returns a random id whose shard is the one of the current processor.
func onCurrentShard(prefix string) Call {
	id := withRandomSuffix(prefix)
	last := &id[len(id)-1]
	letters := lettersByShard[shard.Current()]
	*last = letters[int(*last)%len(letters)]
	return id
}

// lettersByShard lists, for each shard, the letters that may end the ids of that shard.
var lettersByShard = func() (of [shard.Count][]byte) {
	for _, letter := range []byte(alphabet) {
		of[letter%shard.Count] = append(of[letter%shard.Count], letter)
	}
	return of
}()

// pairTable holds all pairs of letters. Taking two letters per division halves the time to make an
// id.
var pairTable = func() (all [len(alphabet) * len(alphabet)][2]byte) {
	for i := range all {
		all[i] = [2]byte{alphabet[i/len(alphabet)], alphabet[i%len(alphabet)]}
	}
	return all
}()

// withRandomSuffix returns prefix followed by random letters. It uses the generator of the runtime,
// which is seeded by the system and safe for concurrent use.
func withRandomSuffix(prefix string) (id Call) {
	copy(id[:], prefix)
	for half := prefixSize; half < len(id); half += randomSize / 2 {
		n := rand.Uint64() //nolint:gosec // ids must be unique, not secret: every process on the bus sees them
		for i := 0; i < randomSize/2; i += 2 {
			copy(id[half+i:], pairTable[n%uint64(len(pairTable))][:])
			n /= uint64(len(pairTable))
		}
	}
	return id
}
