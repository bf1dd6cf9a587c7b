package dynamictest

import (
	"strings"
	"sync"
	"testing"
)

// testLog writes to the log of a test until the test ends. After that, it discards what is written,
// because a handler may still be running and t.Log would panic.
type testLog struct {
	mu sync.Mutex
	tb testing.TB // nil once the test has ended
}

// Write implements io.Writer. p is one line of the log.
func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tb != nil {
		l.tb.Log(strings.TrimSuffix(string(p), "\n"))
	}
	return len(p), nil
}

func (l *testLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tb = nil
}
