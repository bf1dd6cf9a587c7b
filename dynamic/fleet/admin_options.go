package fleet

import (
	"context"
	"log/slog"
)

// adminOptions holds the options of WithAdmin.
type adminOptions struct {
	level  *slog.LevelVar
	reload func(ctx context.Context, name string) (Plugin, error)
}

// AdminOption configures [WithAdmin].
type AdminOption func(*adminOptions)

// LogLevel lets clients set the minimum level of the messages that the program logs. The program's
// slog handler must use the same [slog.LevelVar].
func LogLevel(level *slog.LevelVar) AdminOption {
	return func(o *adminOptions) { o.level = level }
}

// ReloadPlugin lets clients load a plugin again. The function reload must load the named plugin
// again from where it was found, and return its new state. It must be safe for concurrent use.
func ReloadPlugin(reload func(ctx context.Context, name string) (Plugin, error)) AdminOption {
	return func(o *adminOptions) { o.reload = reload }
}

func newAdminOptions(opts []AdminOption) *adminOptions {
	o := &adminOptions{}
	for _, opt := range opts {
		if opt != nil {
			opt(o)
		}
	}
	return o
}
