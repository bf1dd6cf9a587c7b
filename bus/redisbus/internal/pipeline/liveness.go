package pipeline

import "time"

// verdict is the result of a check of a connection.
type verdict int

const (
	// alive means that Redis has replied since the last check, or that no command was unanswered.
	alive verdict = iota
	// silent means that Redis has not replied since the last check, but still has time.
	silent
	// dead means that Redis has not replied for too long.
	dead
)

// liveness decides whether the connection of a pipeline still works. It compares the numbers of
// replies at two checks, so the fast path only has to count replies. Only the pipeline's goroutine
// uses it.
type liveness struct {
	// interval is the probe interval. A check is due twice in each interval.
	interval time.Duration
	// replies counts all replies received since the pipeline was created.
	replies int
	// repliesAtCheck is the value of replies at the last check. If it equals replies at the next
	// check, Redis has sent no reply in between.
	repliesAtCheck int
	// lastProgress is the time of the last check at which the pipeline was idle or had received new
	// replies. If the process has been suspended, it is the time of the first check afterwards,
	// because the pipeline was unable to read in the meantime.
	lastProgress time.Time
	// nextCheck is the time at which the next check is due.
	nextCheck time.Time
	// replyDeadline is the time until which the pipeline waits for the remaining replies after the
	// session has ended. The first check after the end of the session sets it. Before that, it is
	// zero.
	replyDeadline time.Time
}

// schedule sets and returns the time of the next check.
func (l *liveness) schedule() time.Time {
	l.nextCheck = time.Now().Add(l.interval / 2)
	return l.nextCheck
}

// resume is called at the beginning of a check. If the check is very late, this process was
// suspended, so there may be unread replies.
func (l *liveness) resume(now time.Time) {
	if now.Sub(l.nextCheck) >= l.interval/2 {
		l.lastProgress = now
	}
}

// check returns whether Redis replies. idle reports whether no command is unanswered.
func (l *liveness) check(now time.Time, idle bool) verdict {
	replied := l.replies != l.repliesAtCheck
	l.repliesAtCheck = l.replies
	switch {
	case idle || replied:
		l.lastProgress = now
		return alive
	case now.Sub(l.lastProgress) >= l.interval+l.interval/2:
		// The limit is one and a half intervals, because the oldest command may have been sent up
		// to half an interval after lastProgress.
		return dead
	default:
		return silent
	}
}

// drainDeadline returns the time until which the pipeline waits for the remaining replies after the
// session has ended, which is one interval after the first call.
func (l *liveness) drainDeadline(now time.Time) time.Time {
	if l.replyDeadline.IsZero() {
		l.replyDeadline = now.Add(l.interval)
	}
	return l.replyDeadline
}
