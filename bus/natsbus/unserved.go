package natsbus

import (
	"maps"
	"sync"
	"time"
)

// A misrouted frame (see misrouted.go) is unserved if no dynpsrpc process serves its routing key.
// Then either psrpc processes serve it, or no process does, for example because a subscription
// method has no subscribers. The NATS server cannot tell which, so the bus finds out by a trial.
//
// In a trial, the bus returns a few frames with the routing key to the queue group. dynpsrpc
// processes that do not serve the routing key return them again. After maxHops forwards, the last
// one tells this bus that the frame has come back. If all frames come back, the trial has failed,
// and frames with the routing key are dropped for some time.
//
// A frame does not come back if it reaches a psrpc process, even one that drops it. The trial then
// succeeds, and further frames are returned to the group.

const (
	// trialFrames is the number of frames in a trial. If the previous trial has failed, one frame
	// is enough. A trial may fail by chance if few members serve the routing key: about one in 60
	// fails if one of 17 members does. That member then gets only the frames that the NATS server
	// gives to it first, as in psrpc, until the next trial.
	trialFrames = 4
	// trialTimeout is the time after which a frame that has not come back is assumed to have
	// reached a process that serves it. The timeout is much longer than maxHops deliveries take on
	// a busy server.
	trialTimeout = 250 * time.Millisecond
	// servedFor is the time after a successful trial for which frames return to the queue group
	// without another trial.
	servedFor = 5 * time.Second
	// minUnservedFor is the time for which frames are dropped after a failed trial. It doubles with
	// each further failure, up to maxUnservedFor.
	minUnservedFor, maxUnservedFor = time.Second, 16 * time.Second
	// maxUnservedKeys is the maximum number of routing keys whose trials and results are stored.
	maxUnservedKeys = 1024
	// maxWaiting and maxWaitingBytes limit the frames that wait for the results of trials.
	maxWaiting, maxWaitingBytes = 4096, maxLargeBytes
)

// unserved contains the trials that find out whether psrpc processes serve a routing key, and the
// results of these trials. All methods are safe for concurrent use.
type unserved struct {
	mu   sync.Mutex
	keys map[queueKey]*unservedKey
	// waiting is the number of frames that wait for the results of trials. waitingBytes is their
	// total size in bytes.
	waiting, waitingBytes int
}

// queueKey identifies a routing key on the subject of a queue.
type queueKey struct{ subject, routingKey string }

// unservedKey is the state of a routing key that no dynpsrpc process serves.
type unservedKey struct {
	// served is the result of the last trial: it reports whether other processes serve the routing
	// key. The result is valid until validUntil.
	served     bool
	validUntil time.Time
	// failures is the number of failed trials since the last successful one.
	failures int
	trial    *trial
	// waiting contains frames that wait for the result of the trial.
	waiting []*misrouted
}

// trial is the state of one trial. unserved.mu guards it.
type trial struct {
	// limit is the number of frames that must come back before the trial has failed.
	limit int
	// sent is the number of frames that have been sent back to the queue group. cameBack is the
	// number of them that have come back from it.
	sent, cameBack int
	// succeeded is true if at least one frame has not come back in time. That frame has probably
	// reached a process that serves the routing key.
	succeeded bool
}

// onUnserved handles a frame whose routing key no dynpsrpc process serves.
func (b *Bus) onUnserved(f *misrouted) {
	switch b.unserved.decide(f, b.onTrialTimeout) {
	case returnFrame:
		b.returnToGroup(f)
	case dropFrame:
		b.sendStatus(f.publisher, "")
	case wait:
	}
}

// onTrialTimeout is called if a frame of a trial has not come back in time, which means that the
// trial has succeeded. It sends the frames that were waiting for the result back to the queue
// group.
func (b *Bus) onTrialTimeout(f *misrouted) {
	for _, waiting := range b.unserved.succeed(f) {
		b.returnToGroup(waiting)
	}
}

// onCameBack handles a frame that the queue group has returned, and notifies its publisher.
// If other processes may serve the routing key, the frame counts as dropped. Otherwise it is a
// frame without receivers. If a trial has now failed, the same is true of the frames that were
// waiting for its result.
func (b *Bus) onCameBack(f *misrouted) {
	served, dropped := b.unserved.cameBack(f)
	if served || b.privateDenied.Load() {
		f.drop()
	} else {
		b.sendStatus(f.publisher, "")
	}
	for _, waiting := range dropped {
		b.sendStatus(waiting.publisher, "")
	}
}

// decision says what to do with an unserved frame.
type decision int

const (
	returnFrame decision = iota
	dropFrame
	wait
)

// decide decides what to do with f. If f becomes part of a trial and does not come back in time,
// onTimeout is called.
func (u *unserved) decide(f *misrouted, onTimeout func(*misrouted)) decision {
	u.mu.Lock()
	defer u.mu.Unlock()
	k := u.key(f)
	if k == nil {
		return dropFrame
	}
	switch valid := time.Now().Before(k.validUntil); {
	case valid && k.served:
		return returnFrame
	case valid:
		return dropFrame
	case k.trial.succeeded:
		k.trial = &trial{limit: trialFrames}
	}
	switch t := k.trial; {
	case t.sent < t.limit:
		t.sent++
		f.trial, f.timer = t, time.AfterFunc(trialTimeout, func() { onTimeout(f) })
		return returnFrame
	case k.served:
		// The previous trial succeeded, so this one very likely succeeds, too.
		return returnFrame
	case u.waiting == maxWaiting || u.waitingBytes+f.size > maxWaitingBytes:
		return dropFrame
	}
	k.waiting = append(k.waiting, f)
	u.waiting++
	u.waitingBytes += f.size
	return wait
}

// key returns the state of the routing key of f, and creates it if necessary. It returns nil if the
// states of too many other routing keys are stored.
func (u *unserved) key(f *misrouted) *unservedKey {
	key := queueKey{subject: f.subject, routingKey: f.key}
	if k := u.keys[key]; k != nil {
		return k
	}
	if len(u.keys) >= maxUnservedKeys {
		now := time.Now()
		maps.DeleteFunc(u.keys, func(_ queueKey, k *unservedKey) bool { return len(k.waiting) == 0 && now.After(k.validUntil) })
	}
	if len(u.keys) >= maxUnservedKeys {
		return nil
	}
	k := &unservedKey{trial: &trial{limit: trialFrames}}
	u.keys[key] = k
	return k
}

// succeed is called if f, which belongs to a trial, has not come back in time. It records that the
// trial has succeeded, and returns the frames that were waiting for the result.
func (u *unserved) succeed(f *misrouted) []*misrouted {
	u.mu.Lock()
	defer u.mu.Unlock()
	k := u.keys[queueKey{subject: f.subject, routingKey: f.key}]
	if k == nil || k.trial != f.trial {
		return nil
	}
	k.trial.succeeded = true
	k.served, k.failures, k.validUntil = true, 0, time.Now().Add(servedFor)
	return u.takeWaiting(k)
}

// cameBack is called when f has come back, so no other process has taken it. served reports whether
// other frames of the routing key have been taken, so that f may be sent again. If the trial of f
// has now failed, dropped contains the frames that were waiting for its result.
func (u *unserved) cameBack(f *misrouted) (served bool, dropped []*misrouted) {
	u.mu.Lock()
	defer u.mu.Unlock()
	k := u.keys[queueKey{subject: f.subject, routingKey: f.key}]
	if k == nil {
		return false, nil
	}
	t := f.trial
	if t == nil || t != k.trial {
		return k.served, nil
	}
	f.timer.Stop()
	t.cameBack++
	switch {
	case t.cameBack < t.sent:
		return t.succeeded, nil
	case t.sent < t.limit:
		// All frames sent so far have come back. If the trial was considered successful, the only
		// reason was that a frame came back late.
		t.succeeded, k.served, k.validUntil = false, false, time.Time{}
		return false, nil
	}
	unservedFor := min(minUnservedFor<<min(k.failures, 8), maxUnservedFor)
	k.failures++
	k.served, k.validUntil, k.trial = false, time.Now().Add(unservedFor), &trial{limit: 1}
	return false, u.takeWaiting(k)
}

func (u *unserved) takeWaiting(k *unservedKey) []*misrouted {
	waiting := k.waiting
	k.waiting = nil
	u.waiting -= len(waiting)
	for _, f := range waiting {
		u.waitingBytes -= f.size
	}
	return waiting
}
