package chaos

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

func TestMain(m *testing.M) {
	testkit.Quiet()
	goleak.VerifyTestMain(m)
}

// scaled returns the number of repetitions of a test step. With the flag -short, it returns only a
// tenth of count.
func scaled(count int) int {
	if testing.Short() {
		return count / 10
	}
	return count
}
