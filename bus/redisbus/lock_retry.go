package redisbus

import (
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// lockRetryTimeout limits how long the bus tries to take a lock on another server, counted from
	// the arrival of the frame. It must be shorter than an automatic failover. A lock that another
	// process took just before a master failed may be missing on the new master. If the bus still
	// retried after the failover, the frame could be delivered twice.
	lockRetryTimeout = 2 * time.Second
	// maxLockRetries is the maximum number of lock attempts that are repeated at the same time. The
	// number is limited because each of them needs a goroutine.
	maxLockRetries = 4096
)

// dialError is the error of a command that was never sent because its server could not be reached.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// canRetryLock reports whether a lock attempt that failed with err may be repeated. It may if the
// attempt has certainly not taken the lock, and another one may succeed on another server or a
// moment later. That is the case for the errors of a cluster during failovers and while slots
// migrate.
//
// A lost connection does not qualify, because Redis may have executed the command. Nor does
// LOADING, because a server that has just started may have lost the lock of another process.
func canRetryLock(err error) bool {
	var dial dialError
	if errors.As(err, &dial) {
		return true
	}
	switch replyCode(err) {
	case "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "MASTERDOWN":
		return true
	}
	return false
}

// retryLock starts a goroutine that repeats a lock attempt on the server that stores the lock now.
// If too many attempts are being repeated already, the frame is dropped.
func (b *Bus) retryLock(a lockAttempt, cause error) {
	if b.lockRetries.Add(1) > maxLockRetries {
		b.lockRetries.Add(-1)
		a.finish(cause)
		return
	}
	// Bus.Close waits for this goroutine.
	b.workers.Go(func() {
		defer b.lockRetries.Add(-1)
		if hasCode(cause, "READONLY") {
			b.replaceReadOnlySession(a.channel)
		}
		a.finish(b.takeLockElsewhere(a, cause))
	})
}

// takeLockElsewhere takes the lock through the client's own connections, which follow redirections
// to other servers. It tries until Redis grants or refuses the lock, or until lockRetryTimeout has
// passed. It returns nil if this process has the lock, redis.Nil if another one has it, or the last
// error. err is the error of the first attempt.
func (b *Bus) takeLockElsewhere(a lockAttempt, err error) error {
	_, deadNode, _ := b.topology.lockNode(b.ctx, nil, a.frame)
	options := redis.SetArgs{Mode: "NX", TTL: lifeOfLock(a.frame)}
	client := b.topology.lockClient(err)
	for pause := minRetryPause; ; pause = min(2*pause, maxRetryPause) {
		b.topology.refresh(b.ctx)
		// After a dialError, wait until another server stores the lock.
		if _, isDial := errors.AsType[dialError](err); !isDial || b.hasOtherLockNode(a, deadNode) {
			if err = client.SetArgs(b.ctx, lockKey(a.frame), lockValue, options).Err(); err == nil || !canRetryLock(err) {
				return err
			}
		}
		if time.Since(a.arrived)+pause > lockRetryTimeout || !b.sleep(pause) {
			return err
		}
	}
}

// hasOtherLockNode reports whether a node other than deadNode stores the lock now. The bus does not
// ask deadNode again, because a node that has restarted may have lost the lock of another process.
func (b *Bus) hasOtherLockNode(a lockAttempt, deadNode string) bool {
	_, node, err := b.topology.lockNode(b.ctx, nil, a.frame)
	return err == nil && node != deadNode
}

// replaceReadOnlySession replaces the session of a channel whose server has become a replica and
// refuses locks. New connections lead to the new master, but the existing ones stay open until the
// session is replaced. The server may also be read-only on purpose, so the pause between two
// replacements doubles each time. During the pause, replaceReadOnlySession does nothing.
func (b *Bus) replaceReadOnlySession(c *channelState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	sup := c.supervisor
	if time.Now().Before(sup.nextReplacement) {
		return
	}
	if time.Since(sup.nextReplacement) > maxReplacementPause {
		sup.replacementPause = minReplacementPause
	}
	sup.nextReplacement = time.Now().Add(sup.replacementPause)
	sup.replacementPause = min(2*sup.replacementPause, maxReplacementPause)
	sup.lastActive.Load().fail(errors.New("the server has become a replica"))
}

// minReplacementPause and maxReplacementPause limit the pause between two replacements of a session
// whose server is read-only.
const minReplacementPause, maxReplacementPause = time.Second, time.Minute
