package faults

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/tests/faults/scene"
)

func TestMain(m *testing.M) {
	scene.Quiet()
	goleak.VerifyTestMain(m)
}

// scaled is how often a test does what it repeats: less often under -short.
func scaled(count int) int {
	if testing.Short() {
		return count / 10
	}
	return count
}
