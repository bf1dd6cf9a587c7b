package redisbus

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

const (
	// lockLife is the time to live of the lock on a frame if an identical frame may follow. It is
	// the same as in psrpc. The key of a lock is a hash of the frame. While the lock exists, no
	// process can take it for an identical frame, so that frame is not delivered. Identical frames
	// occur because messages that psrpc publishes to subscribers contain no nonce. If a publisher
	// sends the same message again, the two frames are identical.
	lockLife = 5 * time.Second
	// uniqueLockLife is the time to live of the lock on a frame that is unique but has no timeout.
	// An example is a message that a dynpsrpc process publishes to the subscribers of a queue.
	uniqueLockLife = time.Minute
	// maxLockLife limits the time to live of a lock, because a request can have any timeout. A
	// process that is suspended for longer than this has usually lost its connections, and does not
	// receive the frames when it resumes.
	maxLockLife = 10 * time.Minute
)

// lifeOfLock returns the time to live of the lock on frame, in whole seconds.
//
// A process may be suspended for some time, for example together with its virtual machine. When it
// resumes, it reads the frames that arrived in the meantime. The locks on these frames must still
// exist then, or the process would handle frames that others have already handled. Therefore, the
// lock on a request lives longer than the request, up to maxLockLife. A message to subscribers has
// no timeout. Its lock lives only for uniqueLockLife, because each lock occupies about 150 bytes in
// Redis.
func lifeOfLock(frame []byte) time.Duration {
	switch f := wire.InspectQueueFrame(frame); {
	case !f.Unique:
		return lockLife
	case f.Timeout == 0:
		return uniqueLockLife
	default:
		// The request may be handled a little after its timeout. lockLife is added for the time
		// that the request is on its way, and for the error in the server's estimate of the
		// client's clock.
		return min(f.Timeout, maxLockLife-lockLife).Truncate(time.Second) + lockLife
	}
}
