package process

import (
	"context"
	"net/url"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Loader runs plugins that are processes. Several hosts may use a loader concurrently.
type Loader struct {
	busURL  string
	options options
}

var _ plugin.Loader = (*Loader)(nil)

// NewLoader returns a loader whose processes serve on the bus with that URL, see bus.Open. The
// clients of the plugins must be on the same bus. NewLoader returns an error for an in-process bus,
// which other processes cannot reach.
func NewLoader(busURL string, opts ...Option) (*Loader, error) {
	u, err := url.Parse(busURL)
	switch {
	case err != nil: // err repeats the URL, which may contain a password
		return nil, errors.NewErrorf(errors.InvalidArgument, "process plugins: cannot parse the URL of the bus")
	case u.Scheme == "" || u.Scheme == "local":
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"process plugins: other processes cannot reach the bus %s://: use redis:// or nats://", u.Scheme)
	}
	return &Loader{busURL: busURL, options: newOptions(opts)}, nil
}

// Name returns "process".
func (*Loader) Name() string { return "process" }

// Load starts the process and returns when it is ready. When Load returns an error, the process has
// ended; the error contains its exit status and the last lines of its standard error.
func (l *Loader) Load(ctx context.Context, source *plugin.Source, onHealth func(err error)) (plugin.Instance, error) {
	if source.Limits != (plugin.Limits{}) {
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"field limits: not supported for processes: remove it, and limit the host with the operating system")
	}
	executable, err := newExecutable(l.options.directory, source)
	if err != nil {
		return nil, errors.NewErrorf(errors.Internal, "cannot make a private copy of the executable: %w", err)
	}
	i := newInstance(l, source, executable, onHealth)
	p, err := i.start(ctx)
	if err != nil {
		i.cancel()
		executable.remove(l.options.logger)
		return nil, err
	}
	go i.supervise(p) // Close waits for it
	return i, nil
}
