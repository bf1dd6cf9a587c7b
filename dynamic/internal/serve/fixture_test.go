package serve

import (
	"log/slog"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newTestEngine returns an engine on an in-process bus. The engine is killed when the test ends.
func newTestEngine(t *testing.T) *Engine {
	t.Helper()
	local := bus.NewLocal()
	e := New(Config{
		RawBus: local, ID: "server", Logger: slog.New(slog.DiscardHandler), Timeout: 30 * time.Second,
		MaxPendingClaims: 100, MaxPendingClaimBytes: 1 << 20, GrantTimeout: time.Minute, AbandonAfter: time.Second,
		MaxStreams: 100, MaxSilentStreams: 100, MaxDecompressed: 1 << 20,
	})
	t.Cleanup(func() {
		e.Kill()
		_ = local.Close()
	})
	return e
}
