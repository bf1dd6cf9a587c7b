package interceptors

import (
	"math/rand/v2"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// backoff is how long to wait before another attempt.
type backoff struct{ initial, maximum time.Duration }

// wait returns a random time up to the ceiling after so many attempts. What fails at once, again and again, gets more than
// half of that.
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
