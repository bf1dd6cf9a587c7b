package id

import "math/rand/v2"

const (
	alphabet   = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	prefixSize = 4
	randomSize = 12
)

// Call is the id of one request or stream, comparable and without a heap object of its own.
type Call [prefixSize + randomSize]byte

// Parts is how many parts a table by ids may have.
const Parts = 16

// Part returns to which one an id belongs, less than [Parts].
func (c Call) Part() int { return int(c[len(c)-1]) % Parts }

// NewClient returns a new client id.
func NewClient() string {
	id := random("CLI_")
	return string(id[:])
}

// NewServer returns a new server id.
func NewServer() string {
	id := random("SRV_")
	return string(id[:])
}

// NewRequest returns a new request id.
func NewRequest() Call { return random("REQ_") }

// NewStream returns a new stream id.
func NewStream() Call { return random("STR_") }

// ParseCall returns the id held by b; false if b is no id of ours.
func ParseCall(b []byte) (Call, bool) {
	if len(b) != len(Call{}) {
		return Call{}, false
	}
	return Call(b), true
}

// random completes a prefix. The generator is the runtime's own, seeded by the system and safe for concurrent use.
func random(prefix string) (id Call) {
	copy(id[:], prefix)
	for half := prefixSize; half < len(id); half += randomSize / 2 {
		n := rand.Uint64() //nolint:gosec // uniqueness is needed, secrecy is not: whoever is on the bus sees all ids
		for i := range randomSize / 2 {
			id[half+i] = alphabet[n%uint64(len(alphabet))]
			n /= uint64(len(alphabet))
		}
	}
	return id
}
