package redisbus

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// lockCapacity is the maximum number of lock attempts that wait to be sent to a server. On a
	// single server, the bus stops reading from Redis while that many attempts are waiting. In a
	// cluster, it drops the frames of further attempts instead (see pipeline.Pipeline.Enqueue).
	lockCapacity = 8 << 10
	// maxLockBatch is the maximum number of lock attempts in a batch. A lock goes to the first
	// process that asks for it, so with large batches a single process would get a whole burst of
	// frames.
	maxLockBatch = 64
)

// lockAttempt is an attempt by this process to take the lock on a queue frame.
//
// Redis pub/sub has no queue groups, so every process that subscribes to a queue receives every
// frame. As in psrpc, each of them sends SET key value EX seconds NX, where key is a hash of the
// frame, and only the process whose SET succeeds delivers the frame. This costs one command per
// frame and process, but no process has to know the others. Redis deletes the lock when it expires
// (see [lifeOfLock]). Two identical frames published within five seconds count as one.
type lockAttempt struct {
	queueFrame

	bus *core
	// snapshot is the channel's set of subscribers at the time when the frame arrived. The attempt
	// has entered the snapshot's pendingLocks gate, and leaves the gate in finish.
	snapshot *snapshot
	// onCredit is nil unless the process has used credit to ask for the lock (see [share]). If the
	// lock is not granted, the credit can be used again, and onCredit wakes the goroutine that
	// sends the attempts waiting for credit.
	onCredit chan<- struct{}
}

// Size returns the length of the key. The frame itself is not sent to Redis.
func (a lockAttempt) Size() int { return base64.StdEncoding.EncodedLen(sha256.Size) }

// Write writes the command that takes the lock if no process has it.
func (a lockAttempt) Write(w *bufio.Writer) {
	seconds := int(lifeOfLock(a.frame) / time.Second)
	resp.WriteCommand(w, "set", lockKey(a.frame), lockValue, "ex", strconv.Itoa(seconds), "nx")
}

// Complete implements pipeline.Command. If [canRetryLock] permits it, Complete repeats a failed
// attempt in the background. Otherwise, it calls finish.
func (a lockAttempt) Complete(_ int64, err error) {
	if err != nil && canRetryLock(err) {
		a.bus.retryLock(a.queueFrame, err, a.finish)
		return
	}
	a.finish(err)
}

// finish delivers the frame if this process has taken the lock. If err is redis.Nil, another
// process has taken it. After any other error, another process may hold the lock, so the frame is
// dropped, as in psrpc. This is the safer choice: if a request is lost, its caller gets a timeout,
// whereas a request that is handled twice goes unnoticed.
func (a lockAttempt) finish(err error) {
	defer a.snapshot.pendingLocks.Leave()
	if a.onCredit != nil {
		a.channel.share.onReply(err == nil)
		wakeUp(a.onCredit)
	}
	if taken := err == nil; taken || errors.Is(err, redis.Nil) {
		a.bus.peerSigns.onLock(a.channel, a.frame, taken)
	}
	switch {
	case errors.Is(err, redis.Nil):
	case err != nil:
		a.bus.dropQueueFrame(a.channel.name, err)
		// An error reply means that this process does not hold the lock. Without a reply, it may
		// hold the lock unknowingly, so the frame is not reported as refused.
		if resp.IsError(err) {
			a.snapshot.subscribers.RefuseQueue(a.frame)
		}
	case !a.channel.snapshot.Load().subscribers.DeliverQueue(a.frame) && !a.snapshot.subscribers.DeliverQueue(a.frame):
		// This never happens: the last queue subscriber accepts frames until the pendingLocks gate
		// is empty, and this attempt has not left the gate yet.
		a.bus.counters.Drops.Add("NO_SUBSCRIBER", 1, dropEventInterval)
	}
}
