package redisbus

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// lockSeconds is how long a lock lives.
	lockSeconds = 5
	// lockValue is what it is set to: nobody reads it.
	lockValue = "0"
)

// lockAttempt is a frame of a queue that this process would like to deliver, and the SET with which processes contend for
// its lock.
type lockAttempt struct {
	bus      *Bus
	channel  *channelState
	snapshot *snapshot // as it was when the frame came; inside its gate
	frame    []byte
}

// lockKey is the key of a frame's lock: psrpc's, as are its life and the form of the command.
func lockKey(frame []byte) string {
	hash := sha256.Sum256(frame)
	return base64.StdEncoding.EncodeToString(hash[:])
}

// size is little: only a hash of the frame is sent.
func (c lockAttempt) size() int { return base64.StdEncoding.EncodedLen(sha256.Size) }

func (c lockAttempt) write(w *bufio.Writer) {
	writeCommand(w, "set", lockKey(c.frame), lockValue, "ex", strconv.Itoa(lockSeconds), "nx")
}

func (c lockAttempt) complete(_ int64, err error) {
	if isMoved(err) {
		c.bus.workers.Go(c.retryOnMovedNode) // Close waits for it
		return
	}
	c.finish(err)
}

// retryOnMovedNode asks for a lock that was not where the bus thought, as it is while a cluster changes.
func (c lockAttempt) retryOnMovedNode() {
	b := c.bus
	b.topology.refresh(b.ctx)
	options := redis.SetArgs{Mode: "NX", TTL: lockSeconds * time.Second}
	c.finish(b.client.SetArgs(b.ctx, lockKey(c.frame), lockValue, options).Err())
}

// finish delivers the frame if this process got the lock.
func (c lockAttempt) finish(err error) {
	defer c.snapshot.pendingLocks.Leave()
	switch {
	case errors.Is(err, redis.Nil): // another process has it
	case err != nil:
		c.bus.dropped.Add(1) // as psrpc does: nobody knows whether another process has it
	case !c.channel.snapshot.Load().subscribers.DeliverQueue(c.frame) && !c.snapshot.subscribers.DeliverQueue(c.frame):
		c.bus.dropped.Add(1) // cannot happen: a queue's last member waits for its contests
	}
}
