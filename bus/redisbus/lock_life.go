package redisbus

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

const (
	// lockLife is the time to live of the lock on a frame that may be followed by an identical one.
	// While the lock exists, an identical frame is not delivered. psrpc uses the same time. Its
	// messages to subscribers have no nonce, so two equal messages have identical frames.
	lockLife = 5 * time.Second
	// uniqueLockLife is the time to live of the lock on a frame that is unique but has no timeout.
	// An example is a message that a dynpsrpc process publishes to the subscribers of a queue.
	uniqueLockLife = time.Minute
	// maxLockLife limits the time to live of a lock, because a request can have any timeout. A
	// process that is suspended for longer than this has usually lost its connections, and does not
	// receive the frames when it resumes.
	maxLockLife = 10 * time.Minute
)

// lifeOfLock returns the time to live of the lock on frame, in whole seconds. The lock on a request
// lives longer than the request, up to maxLockLife. A process that was suspended reads old frames
// when it resumes, and must not handle requests that others have handled.
func lifeOfLock(frame []byte) time.Duration {
	switch f := wire.InspectQueueFrame(frame); {
	case !f.Unique:
		return lockLife
	case f.Timeout == 0:
		// A message to subscribers has no timeout. Its lock lives for a short time only, because
		// each lock takes about 150 bytes in Redis.
		return uniqueLockLife
	default:
		// The request may be handled a little after its timeout. lockLife is added for the time
		// that the request is on its way, and for the error in the server's estimate of the
		// client's clock.
		return min(f.Timeout, maxLockLife-lockLife).Truncate(time.Second) + lockLife
	}
}
