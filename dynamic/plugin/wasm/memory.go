package wasm

import "github.com/tetratelabs/wazero/experimental"

// memory is the linear memory of an instance. It does not grow beyond its limit, and records
// whether the module tried to exceed the limit. Most programs trap when they get no more memory,
// but the error of a trap does not show this cause.
type memory struct {
	// limit is the maximum size of the memory, in bytes.
	limit int64
	bytes []byte
	// refused reports whether the current request needed more memory than the limit allows.
	refused bool
}

// Allocate implements [experimental.MemoryAllocator]. It is called once for each instance.
func (m *memory) Allocate(_, _ uint64) experimental.LinearMemory { return m }

// Reallocate implements [experimental.LinearMemory]. It resizes the memory and returns the bytes.
// If size exceeds the limit, it returns nil. New bytes are zero. If the capacity is too small, it
// is at least doubled, up to the limit. As a result, the memory of a module that grows page by page
// is not copied each time.
func (m *memory) Reallocate(size uint64) []byte {
	if size > uint64(m.limit) { //nolint:gosec // the limit is not negative
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

// Free implements [experimental.LinearMemory]. It is called when the instance is closed.
func (m *memory) Free() { m.bytes = nil }
