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
	// lockCapacity is how many lock attempts may wait to be sent before the bus stops reading from
	// Redis. In a cluster the frames of further attempts are dropped instead, see
	// [pipeline.enqueue].
	lockCapacity = 8 << 10
	// lockSeconds is the time to live of a lock, as in psrpc.
	lockSeconds = 5
	// lockValue is the value of a lock. No process reads it.
	lockValue = "0"
)

// lockAttempt is a queue frame and the attempt of this process to take the frame's lock.
//
// Redis pub/sub has no queue groups: every process that has a subscriber of the queue gets every
// frame. The processes choose the one that delivers it as psrpc does, because psrpc and dynpsrpc
// processes may serve the same queue: each process sends SET key value EX 5 NX, where the key is a
// hash of the frame's bytes. The SET succeeds for one process, which delivers the frame. The other
// processes get a nil reply and drop the frame. They need not know each other, and the lock expires
// without a second command. The price is one command per frame and process, and that identical
// frames within five seconds count as one.
type lockAttempt struct {
	bus     *Bus
	channel *channelState
	// snapshot has the subscribers at the time the frame arrived. The attempt is inside its
	// pendingLocks.
	snapshot *snapshot
	frame    []byte
}

// lockKey returns the key of a frame's lock: the base64 of its SHA-256, as in psrpc.
func lockKey(frame []byte) string {
	hash := sha256.Sum256(frame)
	return base64.StdEncoding.EncodeToString(hash[:])
}

// size returns the length of the key. The frame itself is not sent.
func (a lockAttempt) size() int { return base64.StdEncoding.EncodedLen(sha256.Size) }

func (a lockAttempt) write(w *bufio.Writer) {
	writeCommand(w, "set", lockKey(a.frame), lockValue, "ex", strconv.Itoa(lockSeconds), "nx")
}

// complete finishes the attempt with the reply from Redis. If the key has moved to another node,
// the attempt starts over.
func (a lockAttempt) complete(_ int64, err error) {
	if isMoved(err) {
		a.bus.workers.Go(a.retryOnMovedNode) // Bus.Close waits for it
		return
	}
	a.finish(err)
}

// retryOnMovedNode repeats the attempt through go-redis, which follows redirections. It is used
// when the slot of the lock has moved to another node of the cluster.
func (a lockAttempt) retryOnMovedNode() {
	b := a.bus
	b.topology.refresh(b.ctx)
	options := redis.SetArgs{Mode: "NX", TTL: lockSeconds * time.Second}
	a.finish(b.client.SetArgs(b.ctx, lockKey(a.frame), lockValue, options).Err())
}

// finish delivers the frame if this process has the lock. err is redis.Nil if another process has
// it. After any other error it is unknown which process has the lock, so the frame is dropped, as
// in psrpc: a lost request times out at its caller, but a request that is handled twice goes
// unnoticed.
func (a lockAttempt) finish(err error) {
	defer a.snapshot.pendingLocks.Leave()
	switch {
	case errors.Is(err, redis.Nil):
	case err != nil:
		a.bus.dropped.Add(1)
	case !a.channel.snapshot.Load().subscribers.DeliverQueue(a.frame) && !a.snapshot.subscribers.DeliverQueue(a.frame):
		a.bus.dropped.Add(1) // cannot happen: the last subscriber of a queue waits for pendingLocks
	}
}
