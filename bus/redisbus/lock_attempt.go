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
	// lockCapacity is the maximum number of lock attempts that wait to be sent to a server. On a
	// single server, the bus stops reading from Redis while that many attempts are waiting. In a
	// cluster, it drops the frames of further attempts instead (see [pipeline.enqueue]).
	lockCapacity = 8 << 10
	// lockValue is the value that this bus stores for a lock. It differs from the random numbers
	// that psrpc stores (see [Bus.findPSRPC]).
	lockValue = "0"
)

// lockAttempt is an attempt by this process to take the lock on a queue frame.
//
// Redis pub/sub has no queue groups, so every process that subscribes to a queue receives every
// frame. As in psrpc, each of them sends SET key value EX seconds NX, where key is a hash of the
// frame. Only the process for which the SET succeeds delivers the frame. The processes need not
// know each other, and the lock expires by itself (see [lifeOfLock]). The cost is one command per
// frame and process. Two identical frames published within five seconds count as one.
type lockAttempt struct {
	bus     *Bus
	channel *channelState
	// snapshot is the channel's set of subscribers at the time when the frame arrived. The attempt
	// has entered the snapshot's pendingLocks gate, and leaves the gate in finish.
	snapshot *snapshot
	frame    []byte
	// arrived is the time at which the frame was read from the connection.
	arrived time.Time
	// onCredit is set if the process has used credit to ask for the lock (see [share]). It points
	// to the frames that wait for credit: they can use this credit if the lock is not granted.
	onCredit *sharedFrames
}

// lockKey returns the key of the lock on frame. As in psrpc, the key is the base64 encoding of the
// frame's SHA-256 hash.
func lockKey(frame []byte) string {
	hash := sha256.Sum256(frame)
	return base64.StdEncoding.EncodeToString(hash[:])
}

// size returns the length of the key. The frame itself is not sent to Redis.
func (a lockAttempt) size() int { return base64.StdEncoding.EncodedLen(sha256.Size) }

func (a lockAttempt) write(w *bufio.Writer) {
	seconds := int(lifeOfLock(a.frame) / time.Second)
	writeCommand(w, "set", lockKey(a.frame), lockValue, "ex", strconv.Itoa(seconds), "nx")
}

// complete implements command. If the attempt has failed with an error after which it may be
// repeated, complete starts to repeat it; see [canRetryLock]. Otherwise complete finishes the
// attempt.
func (a lockAttempt) complete(_ int64, err error) {
	if err != nil && canRetryLock(err) {
		a.bus.retryLock(a, err)
		return
	}
	a.finish(err)
}

// finish delivers the frame if this process has taken the lock. If err is redis.Nil, another
// process has taken it. After any other error, it is unknown which process holds the lock, if any,
// so the frame is dropped, as in psrpc. This is the safer choice: if a request is lost, its caller
// gets a timeout, whereas a request that is handled twice goes unnoticed.
func (a lockAttempt) finish(err error) {
	defer a.snapshot.pendingLocks.Leave()
	if a.onCredit != nil {
		a.channel.share.onReply(err == nil)
		a.onCredit.wake()
	}
	if taken := err == nil; taken || errors.Is(err, redis.Nil) {
		a.bus.peerSigns.onLock(a.channel, a.frame, taken)
	}
	switch {
	case errors.Is(err, redis.Nil):
	case err != nil:
		a.bus.dropQueueFrame(a.channel.name, err)
		// An error reply means that Redis has refused the lock. After any other error, this process
		// may hold the lock without knowing it, so the frame is not reported as refused.
		if isRedisError(err) {
			a.snapshot.subscribers.RefuseQueue(a.frame)
		}
	case !a.channel.snapshot.Load().subscribers.DeliverQueue(a.frame) && !a.snapshot.subscribers.DeliverQueue(a.frame):
		// This never happens: the last queue subscriber accepts frames until the pendingLocks gate
		// is empty, and this attempt has not left the gate yet.
		a.bus.drops.Add("NO_SUBSCRIBER", 1, dropEventInterval)
	}
}
