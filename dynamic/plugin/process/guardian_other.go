//go:build !unix

package process

import "log/slog"

// guardian does nothing on this system, because it would need a Unix shell.
type guardian struct{}

func startGuardian(*executable, *slog.Logger) *guardian { return nil }

func (*guardian) setGroup(int) {}

func (*guardian) dismiss() {}
