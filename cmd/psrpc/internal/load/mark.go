package load

import (
	"encoding/binary"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// markField is the number of the field that a run adds to each update, to recognize the update when
// it arrives. Schemas do not use this number, so subscribers skip the field as unknown.
const markField protowire.Number = 536_870_000

// markSize is the size of a mark without its tag and length.
const markSize = 4 * 8

// mark identifies a published update. It is the content of the field markField.
type mark struct {
	// run is the random number of the run, and caller is the number of the caller. number counts
	// the updates of that caller.
	run, caller, number uint64
	// intended is the planned start of the publication, relative to Updates.start.
	intended time.Duration
	measured bool
}

// append appends the field markField, which contains the mark, to b.
func (m *mark) append(b []byte) []byte {
	b = protowire.AppendTag(b, markField, protowire.BytesType)
	b = protowire.AppendVarint(b, markSize)
	b = binary.LittleEndian.AppendUint64(b, m.run)
	b = binary.LittleEndian.AppendUint64(b, m.caller)
	b = binary.LittleEndian.AppendUint64(b, m.number)
	// The lowest bit of the time says whether the update is measured.
	last := uint64(m.intended) &^ 1 //nolint:gosec // it is decoded as it was encoded
	if m.measured {
		last |= 1
	}
	return binary.LittleEndian.AppendUint64(b, last)
}

// markOf finds the mark among the unknown fields of a message.
func markOf(fields []byte) (m mark, ok bool) {
	for len(fields) > 0 {
		number, kind, n := protowire.ConsumeTag(fields)
		if n < 0 {
			return m, false
		}
		fields = fields[n:]
		if number != markField || kind != protowire.BytesType {
			n = protowire.ConsumeFieldValue(number, kind, fields)
			if n < 0 {
				return m, false
			}
			fields = fields[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(fields)
		if n < 0 || len(value) != markSize {
			return m, false
		}
		last := binary.LittleEndian.Uint64(value[24:])
		return mark{
			run:    binary.LittleEndian.Uint64(value),
			caller: binary.LittleEndian.Uint64(value[8:]), number: binary.LittleEndian.Uint64(value[16:]),
			intended: time.Duration(last &^ 1), measured: last&1 == 1, //nolint:gosec // as it was encoded
		}, true
	}
	return m, false
}

// updateSet is a set of updates. It takes one bit of memory for each number up to the highest one.
type updateSet struct {
	mu sync.Mutex
	// callers maps the number of each caller to the set of its update numbers.
	callers map[uint64][]uint64
}

func newUpdateSet() *updateSet { return &updateSet{callers: map[uint64][]uint64{}} }

// maxUpdates is the lowest update number that a set refuses. Without this limit, a malformed mark
// could make the set use any amount of memory.
const maxUpdates = 1 << 33

// add adds an update. It returns false if the update was already in the set, or if its number is
// too high.
func (s *updateSet) add(caller, number uint64) bool {
	if number >= maxUpdates {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	bits := s.callers[caller]
	for word := number / 64; uint64(len(bits)) <= word; {
		bits = append(bits, 0)
	}
	bit := uint64(1) << (number % 64)
	added := bits[number/64]&bit == 0
	bits[number/64] |= bit
	s.callers[caller] = bits
	return added
}
