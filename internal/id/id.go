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

// The prefixes of all IDs that this package creates, except for the prefix of bus IDs.
const (
	ServerPrefix  = "SRV_"
	ClientPrefix  = "CLI_"
	RequestPrefix = "REQ_"
	StreamPrefix  = "STR_"
)

// Call is the ID of a request or stream. It is an array so that it is comparable and needs no heap
// allocation of its own.
type Call [prefixSize + randomSize]byte

// Shard returns an index less than [shard.Count]. Tables that are split into shards store the
// request or stream in the shard with this index. IDs created on different CPUs usually have
// different indexes, so that the CPUs do not contend for the same shard.
func (c Call) Shard() int { return int(c[len(c)-1]) % shard.Count }

// NewServer returns a new server ID.
func NewServer() string { return New(ServerPrefix) }

// New returns a new ID with the given prefix, which may have any length.
func New(prefix string) string {
	id := withRandomSuffix("")
	return prefix + string(id[prefixSize:])
}

// NewBus returns a new ID for a connection to a bus.
func NewBus() string { return New("BUS_") }

// NewRequest returns a new request ID.
func NewRequest() Call { return onCurrentShard(RequestPrefix) }

// NewStream returns a new stream ID.
func NewStream() Call { return onCurrentShard(StreamPrefix) }

// ParseCall converts b to a Call. It returns false if b is not as long as the IDs created by this
// package. Other implementations may create IDs of a different length.
func ParseCall(b []byte) (Call, bool) {
	if len(b) != len(Call{}) {
		return Call{}, false
	}
	return Call(b), true
}

// onCurrentShard returns a random ID for which [Call.Shard] returns the shard of the current CPU.
func onCurrentShard(prefix string) Call {
	id := withRandomSuffix(prefix)
	last := &id[len(id)-1]
	letters := lettersByShard[shard.Current()]
	*last = letters[int(*last)%len(letters)]
	return id
}

// lettersByShard contains, for each shard, the characters that select this shard when they are the
// last character of an ID.
var lettersByShard = func() (letters [shard.Count][]byte) {
	for _, letter := range []byte(alphabet) {
		letters[letter%shard.Count] = append(letters[letter%shard.Count], letter)
	}
	return letters
}()

// pairTable contains all pairs of characters of the alphabet. It allows withRandomSuffix to obtain
// two characters from each division, so creating an ID takes half as long.
var pairTable = func() (all [len(alphabet) * len(alphabet)][2]byte) {
	for i := range all {
		all[i] = [2]byte{alphabet[i/len(alphabet)], alphabet[i%len(alphabet)]}
	}
	return all
}()

// withRandomSuffix returns prefix followed by random characters. It uses the random number
// generator of the Go runtime, which is seeded by the operating system and safe for concurrent use.
func withRandomSuffix(prefix string) (id Call) {
	copy(id[:], prefix)
	for half := prefixSize; half < len(id); half += randomSize / 2 {
		n := rand.Uint64() //nolint:gosec // IDs must be unique, not secret: every process on the bus sees them
		for i := 0; i < randomSize/2; i += 2 {
			copy(id[half+i:], pairTable[n%uint64(len(pairTable))][:])
			n /= uint64(len(pairTable))
		}
	}
	return id
}

// IsPlain reports whether an ID is not empty and contains only ASCII letters, digits, underscores
// and hyphens.
func IsPlain(id string) bool {
	for _, c := range []byte(id) {
		isLetter := 'a' <= c|0x20 && c|0x20 <= 'z'
		if !isLetter && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return id != ""
}
