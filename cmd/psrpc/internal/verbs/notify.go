package verbs

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/systemd"
)

// notify reports the state of this process to systemd, if systemd has started it. Verbs that serve
// until they are interrupted call it when they are ready and when they stop.
func notify(ctx context.Context, a *app.App, state string) {
	// When the process stops, the context of the run has already ended.
	if err := systemd.Notify(context.WithoutCancel(ctx), a.Env("NOTIFY_SOCKET"), state); err != nil {
		a.Logger().Warn("systemd waits for this process in vain", "error", err)
	}
}
