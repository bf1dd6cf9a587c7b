package interceptors

import (
	"math/rand/v2"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// backoff computes the delays between attempts. It implements exponential backoff with full jitter.
type backoff struct{ initial, maximum time.Duration }

// wait returns a random delay below the ceiling, which grows with each attempt (see WithBackoff).
// If no server was listening or the bus was down, the delay is at least half of the ceiling. Such
// attempts usually fail at once, so only the delay slows the retries down.
func (b backoff) wait(attempts int, err error) time.Duration {
	ceiling := min(b.initial, b.maximum)
	for range attempts - 1 {
		ceiling += min(ceiling, b.maximum-ceiling)
	}
	floor := time.Duration(0)
	if facts, _ := errors.FactsOf(err); facts.Reason == errors.ReasonNobodyListening || facts.Reason == errors.ReasonBusDown {
		floor = ceiling / 2
	}
	return floor + rand.N(ceiling-floor) //nolint:gosec // not a secret
}
