package natsbus

import (
	"maps"
	"sync"
	"time"
)

// No process of dynpsrpc serves the routing key of an unserved frame. Processes of psrpc's kind may
// serve it, or nobody does. The latter is normal for the updates of a subscription method. The NATS
// server cannot tell the two cases apart, so this file tries it out. In a trial, a few frames with
// the routing key return to the queue group. If somebody serves the routing key, one of them soon
// reaches that process, and does not come back. Otherwise, each of them visits maxHops processes in
// vain and comes back. From then on, and for some time, frames with the routing key are dropped.
// Frames that arrive during a trial wait for its result.
//
// If the members that serve the routing key are few, a trial can fail by chance. If they are one of
// 17 members, about one of 60 trials fails. They then get only those frames that the NATS server
// gives them at the first attempt, as in a queue group of psrpc alone.

const (
	// trialFrames is the number of frames of a trial. If the previous trial has failed, one frame is
	// enough.
	trialFrames = 4
	// trialTimeout is the time after which a frame is considered as received if it has not come
	// back. It is much longer than maxHops deliveries take on a busy server.
	trialTimeout = 250 * time.Millisecond
	// servedFor is the time for which frames return to the queue group after a trial that has
	// succeeded.
	servedFor = 5 * time.Second
	// minUnservedFor is the time for which frames are dropped after a trial that has failed. It
	// doubles with each further failure, up to maxUnservedFor.
	minUnservedFor, maxUnservedFor = time.Second, 16 * time.Second
	// maxUnservedKeys is the maximum number of routing keys with a known result or a trial.
	maxUnservedKeys = 1024
	// maxWaiting and maxWaitingBytes limit the frames that wait for the results of trials.
	maxWaiting, maxWaitingBytes = 4096, maxLargeBytes
)

// unserved contains the trials and their results. All methods are safe for concurrent use.
type unserved struct {
	mu   sync.Mutex
	keys map[queueKey]*unservedKey
	// waiting and waitingBytes are the number and the size of the frames that wait.
	waiting, waitingBytes int
}

// queueKey is a routing key on the subject of a queue.
type queueKey struct{ subject, routingKey string }

// unservedKey is the state of a routing key that no process of dynpsrpc serves.
type unservedKey struct {
	// served is the result of the last trial: whether other processes serve the routing key. It is
	// valid until the time validUntil.
	served     bool
	validUntil time.Time
	// failures is the number of failed trials since the last one that has succeeded.
	failures int
	trial    *trial
	// waiting contains frames that wait for the result of the trial.
	waiting []*misrouted
}

// trial is a trial of a routing key. unserved.mu guards it.
type trial struct {
	// limit is the number of frames that the trial needs to fail.
	limit int
	// sent is the number of frames that have returned to the queue group, and cameBack is how many
	// of them have come back.
	sent, cameBack int
	// succeeded reports whether a frame has not come back in time.
	succeeded bool
}

// onUnserved handles a frame whose routing key no process of dynpsrpc serves.
func (b *Bus) onUnserved(f *misrouted) {
	switch b.unserved.decide(f, b.onTrialTimeout) {
	case returnFrame:
		b.returnToGroup(f)
	case dropFrame:
		b.sendStatus(f.publisher, "")
	case wait:
	}
}

// onTrialTimeout is called if a frame of a trial has not come back in time. The frames that have
// waited return to the queue group, too.
func (b *Bus) onTrialTimeout(f *misrouted) {
	for _, waiting := range b.unserved.succeed(f) {
		b.returnToGroup(waiting)
	}
}

// onCameBack handles a frame that has come back from the queue group.
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

// decide decides what to do with f. If f becomes part of a trial, onTimeout is called when f has not
// come back in time.
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
		return returnFrame // the previous trial succeeded, so this one very likely succeeds, too
	case u.waiting == maxWaiting || u.waitingBytes+f.size > maxWaitingBytes:
		return dropFrame
	}
	k.waiting = append(k.waiting, f)
	u.waiting++
	u.waitingBytes += f.size
	return wait
}

// key returns the state of the routing key of f. It returns nil if there are too many others.
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

// succeed is called if f, which belongs to a trial, has not come back in time. It returns the frames
// that have waited for the result.
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

// cameBack is called if f has come back. served reports whether other processes nevertheless serve
// the routing key, according to the last trial. dropped contains the frames that have waited in
// vain.
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
		// If the trial has succeeded, it was only because the frame was slow.
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
