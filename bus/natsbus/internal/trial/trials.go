package trial

import (
	"maps"
	"sync"
	"time"
)

const (
	// Frames is the number of frames in a trial. If the previous trial has failed, one frame is
	// enough. A trial may fail by chance if few members serve the routing key: about one in 40
	// fails if one of 17 members does. Until the next trial, that member then gets only the frames
	// that the NATS server does not misroute, as in psrpc.
	Frames = 4
	// Timeout is the timeout that the bus uses: after this time, a frame that has not come back is
	// assumed to have reached a process that serves it. The timeout is much longer than all
	// deliveries of a returned frame take on a busy server.
	Timeout = 250 * time.Millisecond
	// servedFor is the time after a successful trial for which frames return to the queue group
	// without another trial.
	servedFor = 5 * time.Second
	// minUnservedFor is the time for which frames are dropped after a failed trial. It doubles with
	// each further failure, up to maxUnservedFor.
	minUnservedFor, maxUnservedFor = time.Second, 16 * time.Second
	// maxKeys is the maximum number of routing keys whose trials and results are stored.
	maxKeys = 1024
	// maxWaiting and maxWaitingBytes limit the frames that wait for the results of trials.
	maxWaiting, maxWaitingBytes = 4096, 16 << 20
)

// Key identifies a routing key on the subject of a queue.
type Key struct{ Subject, RoutingKey string }

// Frame is an unserved frame.
type Frame interface {
	// Key returns the routing key of the frame. It does not change.
	Key() Key
	// Size returns the size of the frame in bytes. It does not change.
	Size() int
	// Membership returns the state of the frame in a trial. It always returns the same pointer.
	// Only this package reads and writes its fields.
	Membership() *Membership
}

// Membership is the state of one frame in a trial. The zero value means that the frame is in no
// trial.
type Membership struct {
	// trial is nil unless the frame belongs to a trial. timer fires if the frame has not come back
	// in time.
	trial *trial
	timer *time.Timer
}

// Decision says what to do with an unserved frame.
type Decision int

const (
	// Return means that the frame returns to the queue group.
	Return Decision = iota
	// Drop means that no process serves the frame.
	Drop
	// Wait means that the frame waits for the result of a trial.
	Wait
)

// Trials contains the trials of all routing keys, and their results. Use [New] to create Trials.
// All methods are safe for concurrent use.
type Trials[F Frame] struct {
	// timeout is how long a frame of a trial may take to come back.
	timeout time.Duration

	// mu guards the fields below, and all states and trials that they refer to.
	mu   sync.Mutex
	keys map[Key]*keyState[F]
	// waiting is the number of frames that wait for the results of trials. waitingBytes is their
	// total size in bytes.
	waiting, waitingBytes int
}

// keyState is the state of a routing key that no dynpsrpc process serves.
type keyState[F Frame] struct {
	// served is the result of the last trial: it reports whether other processes serve the routing
	// key. The result is valid until validUntil.
	served     bool
	validUntil time.Time
	// failures is the number of failed trials since the last successful one.
	failures int
	trial    *trial
	// waiting contains frames that wait for the result of the trial.
	waiting []F
}

// trial is the state of one trial.
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

// New returns Trials without any results. A frame that has not come back after timeout is assumed
// to have reached a process that serves it; see [Timeout].
func New[F Frame](timeout time.Duration) *Trials[F] {
	return &Trials[F]{timeout: timeout, keys: map[Key]*keyState[F]{}}
}

// Decide decides what to do with f. If f becomes part of a trial and does not come back in time,
// onTimeout is called on a goroutine of its own. It should call Succeed.
func (t *Trials[F]) Decide(f F, onTimeout func(F)) Decision {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.state(f.Key())
	if k == nil {
		return Drop
	}
	switch valid := time.Now().Before(k.validUntil); {
	case valid && k.served:
		return Return
	case valid:
		return Drop
	case k.trial.succeeded:
		k.trial = &trial{limit: Frames}
	}
	switch current := k.trial; {
	case current.sent < current.limit:
		current.sent++
		*f.Membership() = Membership{trial: current, timer: time.AfterFunc(t.timeout, func() { onTimeout(f) })}
		return Return
	case k.served:
		// The previous trial succeeded, so this one very likely succeeds, too.
		return Return
	case t.waiting == maxWaiting || t.waitingBytes+f.Size() > maxWaitingBytes:
		return Drop
	}
	k.waiting = append(k.waiting, f)
	t.waiting++
	t.waitingBytes += f.Size()
	return Wait
}

// state returns the state of a routing key, and creates it if necessary. It returns nil if the
// states of too many other routing keys are stored.
func (t *Trials[F]) state(key Key) *keyState[F] {
	if k := t.keys[key]; k != nil {
		return k
	}
	if len(t.keys) >= maxKeys {
		now := time.Now()
		maps.DeleteFunc(t.keys, func(_ Key, k *keyState[F]) bool { return len(k.waiting) == 0 && now.After(k.validUntil) })
	}
	if len(t.keys) >= maxKeys {
		return nil
	}
	k := &keyState[F]{trial: &trial{limit: Frames}}
	t.keys[key] = k
	return k
}

// Succeed is called if f, which belongs to a trial, has not come back in time. It records that the
// trial has succeeded, and returns the frames that were waiting for the result. The caller returns
// these frames to the queue group.
func (t *Trials[F]) Succeed(f F) (waiting []F) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.keys[f.Key()]
	if k == nil || k.trial != f.Membership().trial {
		return nil
	}
	k.trial.succeeded = true
	k.served, k.failures, k.validUntil = true, 0, time.Now().Add(servedFor)
	return t.takeWaiting(k)
}

// CameBack records that the queue group has returned f to this process, because no other process
// has taken it. served reports whether a process has taken other frames with the routing key. If
// so, the publisher of f may try again. If the trial of f has now failed, unserved contains the
// frames that were waiting for its result. No process serves them.
func (t *Trials[F]) CameBack(f F) (served bool, unserved []F) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k, member := t.keys[f.Key()], f.Membership()
	if k == nil {
		return false, nil
	}
	if member.trial == nil || member.trial != k.trial {
		return k.served, nil
	}
	member.timer.Stop()
	current := k.trial
	current.cameBack++
	switch {
	case current.cameBack < current.sent:
		return current.succeeded, nil
	case current.sent < current.limit:
		// All frames sent so far have come back. If the trial was considered successful, the only
		// reason was that a frame came back late.
		current.succeeded, k.served, k.validUntil = false, false, time.Time{}
		return false, nil
	}
	unservedFor := min(minUnservedFor<<min(k.failures, 8), maxUnservedFor)
	k.failures++
	k.served, k.validUntil, k.trial = false, time.Now().Add(unservedFor), &trial{limit: 1}
	return false, t.takeWaiting(k)
}

func (t *Trials[F]) takeWaiting(k *keyState[F]) []F {
	waiting := k.waiting
	k.waiting = nil
	t.waiting -= len(waiting)
	for _, f := range waiting {
		t.waitingBytes -= f.Size()
	}
	return waiting
}
