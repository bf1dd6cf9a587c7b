package redisbus

import (
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/pipeline"
	"github.com/dynpsrpc/dynpsrpc/bus/redisbus/internal/resp"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// maxLockRetries is the maximum number of lock attempts that are repeated at the same time. The
// number is limited because each of them needs a goroutine.
const maxLockRetries = 4096

// canRetryLock reports whether a lock attempt that failed with err may be repeated. The attempt
// must certainly not have taken the lock, but must have a chance to succeed later or on another
// server. Both hold for the errors of a cluster during failovers and while slots migrate.
//
// A lost connection does not qualify, because Redis may have executed the command. Nor does
// LOADING, because a server that has just started may have lost the lock of another process.
func canRetryLock(err error) bool {
	if isDialError(err) {
		return true
	}
	switch resp.ErrorCode(err) {
	case "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "MASTERDOWN":
		return true
	}
	return false
}

// isDialError reports whether a command was never sent because its server could not be reached.
func isDialError(err error) bool {
	_, ok := errors.AsType[pipeline.DialError](err)
	return ok
}

// retryLock starts a goroutine that repeats the attempt to lock f on the server that stores the
// lock now. It then calls finish with the result. cause is the error of the first attempt. If
// maxLockRetries attempts are already being repeated, retryLock calls finish with cause.
func (b *core) retryLock(f queueFrame, cause error, finish func(error)) {
	if b.lockRetries.Add(1) > maxLockRetries {
		b.lockRetries.Add(-1)
		finish(cause)
		return
	}
	// Bus.Close waits for this goroutine.
	b.workers.Go(func() {
		defer b.lockRetries.Add(-1)
		if resp.HasCode(cause, "READONLY") {
			b.replaceReadOnlySession(f.channel)
		}
		finish(b.takeLockElsewhere(f, cause))
	})
}

// takeLockElsewhere takes the lock through the client's own connections, which follow redirections
// to other servers. It tries until Redis grants or refuses the lock, or until lockRetryTimeout has
// passed. It returns nil if this process has the lock, redis.Nil if another one has it, or the last
// error. err is the error of the first attempt.
func (b *core) takeLockElsewhere(f queueFrame, err error) error {
	_, deadNode, _ := b.topology.lockNode(b.ctx, nil, f.frame)
	options := redis.SetArgs{Mode: "NX", TTL: lifeOfLock(f.frame)}
	client := b.topology.lockClient(err)
	for pause := minRetryPause; ; pause = min(2*pause, maxRetryPause) {
		b.topology.refresh(b.ctx)
		// After a DialError, wait until another server stores the lock.
		if !isDialError(err) || b.hasOtherLockNode(f, deadNode) {
			if err = client.SetArgs(b.ctx, lockKey(f.frame), lockValue, options).Err(); err == nil || !canRetryLock(err) {
				return err
			}
		}
		if time.Since(f.arrived)+pause > b.options.lockRetryTimeout || !b.sleep(pause) {
			return err
		}
	}
}

// hasOtherLockNode reports whether a node other than deadNode stores the lock now. The bus does not
// ask deadNode again, because a node that has restarted may have lost the lock of another process.
func (b *core) hasOtherLockNode(f queueFrame, deadNode string) bool {
	_, node, err := b.topology.lockNode(b.ctx, nil, f.frame)
	return err == nil && node != deadNode
}

// replaceReadOnlySession replaces the session of a channel whose server has become a replica and
// refuses locks.
func (b *core) replaceReadOnlySession(c *channelState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.group.replaceReadOnlyLocked()
}
