package transport

import "sync/atomic"

// Budget limits the total memory of decompressed messages. A limit on the number or size of frames
// is not enough, because a frame of a few kilobytes can decompress to megabytes. All methods are
// safe for concurrent use.
type Budget struct {
	// Max is the limit in bytes. It must not be changed after the first call to TryTake.
	Max int64

	used atomic.Int64
}

// TryTake reserves size bytes for a message. If this would exceed the limit, TryTake reserves
// nothing and returns false. For a message that was not compressed, size is 0, and TryTake returns
// true.
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

// Release frees the bytes that a successful call to TryTake with the same size has reserved.
func (b *Budget) Release(size int) {
	if size != 0 {
		b.used.Add(-int64(size))
	}
}
