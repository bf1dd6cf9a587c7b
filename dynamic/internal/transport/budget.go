package transport

import "sync/atomic"

// Budget limits the memory that decompressed messages use together. A frame of a few kilobytes can
// become megabytes, so a limit of the number or size of frames does not limit the memory. All
// methods are safe for concurrent use.
type Budget struct {
	// Max is the limit in bytes. It must not be changed after the first call to TryTake.
	Max int64

	used atomic.Int64
}

// TryTake reserves memory for a message. It returns false if the limit would be exceeded. If size is
// 0, which is that of a message that was not compressed, TryTake does nothing and returns true.
func (b *Budget) TryTake(size int) bool {
	if size == 0 {
		return true
	}
	if b.used.Add(int64(size)) <= b.Max {
		return true
	}
	b.Release(size)
	return false
}

// Release undoes a TryTake that has returned true.
func (b *Budget) Release(size int) {
	if size != 0 {
		b.used.Add(-int64(size))
	}
}
