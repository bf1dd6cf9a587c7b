package interceptors

import (
	"sync"
)

// retryBudget bounds the retries of many calls together. A nil one has no bound.
type retryBudget struct {
	maxTokens, tokenRatio float64

	mu     sync.Mutex
	tokens float64
}

// newRetryBudget returns a full one.
func newRetryBudget(tokens int, ratio float64) *retryBudget {
	if tokens <= 0 {
		return nil
	}
	return &retryBudget{maxTokens: float64(tokens), tokenRatio: max(ratio, 0), tokens: float64(tokens)}
}

// take reports false if nothing is left.
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
