package interceptors

import (
	"sync"
)

// retryBudget is a token bucket that limits the total number of retries across many calls. A nil
// budget imposes no limit. A retryBudget is safe for concurrent use.
type retryBudget struct {
	maxTokens, tokenRatio float64

	mu     sync.Mutex
	tokens float64
}

// newRetryBudget returns a full budget, or nil if tokens is zero or negative.
func newRetryBudget(tokens int, ratio float64) *retryBudget {
	if tokens <= 0 {
		return nil
	}
	return &retryBudget{maxTokens: float64(tokens), tokenRatio: max(ratio, 0), tokens: float64(tokens)}
}

// take removes one token and reports whether a token was available.
func (b *retryBudget) take() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func (b *retryBudget) onSuccess() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(b.tokens+b.tokenRatio, b.maxTokens)
}
