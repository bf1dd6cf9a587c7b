package app

import "log/slog"

// LogLevel returns the lowest level that [App.Logger] writes. The caller may change it.
func (a *App) LogLevel() *slog.LevelVar {
	if a.level == nil {
		a.level = new(slog.LevelVar)
		switch {
		case a.Flags.Quiet:
			a.level.Set(slog.LevelError)
		case a.Flags.Verbose:
			a.level.Set(slog.LevelInfo)
		default:
			a.level.Set(slog.LevelWarn)
		}
	}
	return a.level
}

// AccessLogger returns a logger of requests. It writes lines of JSON to the standard error, even
// with -q.
func (a *App) AccessLogger() *slog.Logger { return slog.New(slog.NewJSONHandler(a.lockedErr(), nil)) }

// Logger returns the logger of the bus, the conn and the registry. It writes warnings to the
// standard error. With -v, it also writes information, and with -q, only errors.
func (a *App) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(a.lockedErr(), &slog.HandlerOptions{
		Level: a.LogLevel(),
		ReplaceAttr: func(groups []string, attr slog.Attr) slog.Attr {
			if len(groups) == 0 && attr.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return attr
		},
	}))
}
