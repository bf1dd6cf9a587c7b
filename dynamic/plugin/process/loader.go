package process

import (
	"context"
	"net/url"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Loader runs plugins that are processes. It may be used by several hosts, from many goroutines.
type Loader struct {
	busURL  string
	options options
}

var _ plugin.Loader = (*Loader)(nil)

// NewLoader returns a loader whose processes serve on the bus of that URL, as bus.Open takes it. It must be the bus on
// which their clients are: an in-process bus is none, and an error.
func NewLoader(busURL string, opts ...Option) (*Loader, error) {
	u, err := url.Parse(busURL)
	switch {
	case err != nil:
		return nil, errors.NewErrorf(errors.InvalidArgument, "process plugins: the URL of the bus cannot be parsed")
	case u.Scheme == "" || u.Scheme == "local":
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"process plugins: the bus must be one that other processes reach, such as redis:// or nats://, not %s://", u.Scheme)
	}
	return &Loader{busURL: busURL, options: newOptions(opts)}, nil
}

// Name returns "process".
func (*Loader) Name() string { return "process" }

// Load starts the process and returns when it is ready. If it fails, nothing of it is running; the error says what the
// process did and wrote.
func (l *Loader) Load(ctx context.Context, source *plugin.Source, onHealth func(err error)) (plugin.Instance, error) {
	if source.Limits != (plugin.Limits{}) {
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"field limits: a process has none: remove it, and bound the host by means of the system")
	}
	executable, err := newExecutable(l.options.directory, source)
	if err != nil {
		return nil, errors.NewErrorf(errors.Internal, "no private copy of the executable can be made: %w", err)
	}
	c := newInstance(l, source, executable, onHealth)
	p, err := c.start(ctx)
	if err != nil {
		c.cancel()
		executable.remove(l.options.logger)
		return nil, err
	}
	go c.supervise(p) // Close waits for it
	return c, nil
}
