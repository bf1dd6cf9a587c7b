package redisbus

import (
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

const (
	// lockValue is the value that this bus stores for a lock. It differs from the random numbers
	// that psrpc stores (see [Bus.findPSRPC]).
	lockValue = "0"
	// lockLife is the time to live of the lock on a frame that may be followed by an identical one.
	// For example, psrpc publishes messages without a nonce, so equal messages have identical
	// frames. While the lock exists, an identical frame is not delivered. psrpc uses the same time.
	lockLife = 5 * time.Second
	// uniqueLockLife is the time to live of the lock on a frame that is unique but has no timeout.
	// An example is a message that a dynpsrpc process publishes to the subscribers of a queue.
	uniqueLockLife = time.Minute
	// maxLockLife limits the time to live of a lock, because a request can have any timeout. A
	// process that is suspended for longer than this has usually lost its connections, and does not
	// receive the frames when it resumes.
	maxLockLife = 10 * time.Minute
)

// queueFrame is a frame of a queue that this process may deliver if it has the lock on it.
type queueFrame struct {
	channel *channelState
	frame   []byte
	// arrived is the time at which the frame was read from the connection.
	arrived time.Time
}

// lockKey returns the key of the lock on frame. As in psrpc, the key is the base64 encoding of the
// frame's SHA-256 hash.
func lockKey(frame []byte) string {
	hash := sha256.Sum256(frame)
	return base64.StdEncoding.EncodeToString(hash[:])
}

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
		// The request may be handled a little after its timeout, because it takes time to arrive
		// and the server only estimates the client's clock. The lock therefore lives longer by
		// lockLife.
		return min(f.Timeout, maxLockLife-lockLife).Truncate(time.Second) + lockLife
	}
}
