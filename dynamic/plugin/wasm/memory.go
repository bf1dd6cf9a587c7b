package wasm

import "github.com/tetratelabs/wazero/experimental"

// memory is the memory of an instance, which stays below a limit.
type memory struct {
	limit   int64 // bytes
	bytes   []byte
	refused bool // more was asked for than the limit allows
}

// Allocate is called once, when the instance is made.
func (m *memory) Allocate(_, _ uint64) experimental.LinearMemory { return m }

// Reallocate returns the memory with another size, or nil if that is too much. New bytes are 0.
func (m *memory) Reallocate(size uint64) []byte {
	if size > uint64(m.limit) { //nolint:gosec // it is not negative
		m.refused = true
		return nil
	}
	if size > uint64(cap(m.bytes)) {
		grown := make([]byte, size, max(int64(size), min(2*int64(cap(m.bytes)), m.limit))) //nolint:gosec // see above
		copy(grown, m.bytes)
		m.bytes = grown
	}
	m.bytes = m.bytes[:size]
	return m.bytes
}

// Free is called when the instance is closed.
func (m *memory) Free() { m.bytes = nil }
