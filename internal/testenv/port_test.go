package testenv

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestFreePort_IsReserved(t *testing.T) {
	t.Parallel()
	given := map[int]bool{}
	for range 500 {
		port := freePort(t)
		assert.False(t, given[port])
		given[port] = true
	}
}
