package natsbus

import "sync"

const (
	// maxSmall is the maximum size, in bytes, of a small frame. The bus retains at most
	// reports.Capacity small frames.
	maxSmall = 4 << 10
	// maxLargeBytes is the maximum total size, in bytes, of the larger frames that are retained.
	maxLargeBytes = 16 << 20
)

// retained limits the memory of misrouted frames that may have to return to their queue group. A
// small frame is retained until the server has confirmed that a process has received it. A larger
// frame is retained until newer large frames fill maxLargeBytes. All methods are safe for
// concurrent use.
type retained struct {
	// mu guards the fields below, and the bytes of all retained frames.
	mu sync.Mutex
	// large contains the latest large frames, oldest first, and size is their total size in bytes.
	large []*retainedFrame
	size  int
}

// retainedFrame contains the bytes of a frame until they are discarded.
type retainedFrame struct {
	// bytes is nil if the bytes of the frame have been discarded. retained.mu guards it.
	bytes []byte
	// size is the size of the frame in bytes. It does not change.
	size int
}

func (r *retained) add(f *retainedFrame) {
	if f.size <= maxSmall {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.large = append(r.large, f)
	r.size += f.size
	for r.size > maxLargeBytes && len(r.large) > 1 {
		oldest := r.large[0]
		oldest.bytes, r.large[0] = nil, nil
		r.size -= oldest.size
		r.large = r.large[1:]
	}
}

// frame returns the bytes of f, or nil if they have been discarded.
func (r *retained) frame(f *retainedFrame) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return f.bytes
}
