// Package backoff computes the pauses between attempts to reach a broker or a process, and waits
// for them. It does not decide which errors are worth another attempt.
//
//	pauses := backoff.Backoff{Min: 25 * time.Millisecond, Max: 400 * time.Millisecond}
//	for attempt := 1; backoff.Sleep(ctx, pauses.Jittered(attempt)); attempt++ {
//		...
//	}
//
// A pause doubles with each failed attempt, so that the attempts do not burden a broker that is
// down for a long time. Random jitter keeps the clients of a broker that has restarted from
// connecting all at once.
package backoff
