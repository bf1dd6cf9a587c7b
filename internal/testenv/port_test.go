package testenv

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestFreePort_IsTheTests: a port that nobody listens on at the moment is given to no other.
func TestFreePort_IsTheTests(t *testing.T) {
	t.Parallel()
	given := map[int]bool{}
	for range 500 {
		port := freePort(t)
		assert.False(t, given[port])
		given[port] = true
	}
}
