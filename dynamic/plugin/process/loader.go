package process

import (
	"context"
	"fmt"
	"io"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/busurl"
	"github.com/dynpsrpc/dynpsrpc/internal/privatecopy"
)

// Loader runs plugins that are processes. It is safe for concurrent use by several hosts.
type Loader struct {
	// busURL returns the URL of the bus. It is a function so that printing or logging the loader
	// does not show the password in the URL.
	busURL  func() string
	options options
}

var _ plugin.Loader = (*Loader)(nil)

// NewLoader returns a loader whose processes serve on the bus with the given URL; see bus.Open for
// the format. Clients of the plugins must use the same bus. NewLoader returns an error if the URL
// is invalid or refers to an in-process bus, which other processes cannot reach. Errors do not
// contain any part of the URL that may belong to a password.
//
// A host that is killed may leave behind private copies of plugins, in the directory set with
// [WithDirectory], and processes that its plugins have started. NewLoader removes these copies and,
// on Linux, kills these processes. It does not touch the copies and processes of hosts that are
// still running.
func NewLoader(busURL string, opts ...Option) (*Loader, error) {
	u, err := busurl.Parse(busURL)
	switch {
	case err != nil:
		return nil, errors.NewErrorf(errors.InvalidArgument, "process plugins: cannot parse the URL of the bus: %w", err)
	case u.Scheme == "" || u.Scheme == "local":
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"process plugins: other processes cannot reach the bus %s://: use redis:// or nats://", u.Scheme)
	}
	l := &Loader{busURL: func() string { return busURL }, options: newOptions(opts)}
	privatecopy.RemoveStale(l.options.directory, copyPrefix, func(folder string) { killMarked(markOf(folder)) })
	return l, nil
}

// Format implements fmt.Formatter. It prints only the name of the type, so that it never shows a
// password in the URL of the bus.
func (*Loader) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "process.Loader") }

// Name returns "process".
func (*Loader) Name() string { return "process" }

// Load starts the process and returns when the process is ready. If Load returns an error, the
// process is no longer running. If the process was not ready in time or exited too early, the error
// contains the last lines that the process wrote to standard error.
func (l *Loader) Load(ctx context.Context, source *plugin.Source, onHealth func(err error)) (plugin.Instance, error) {
	if source.Limits != (plugin.Limits{}) {
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"field limits: not supported for processes: remove it, and limit the host with the operating system")
	}
	executable, err := newExecutable(l.options.directory, source)
	if err != nil {
		return nil, errors.NewErrorf(errors.Internal, "cannot make a private copy of the executable: %w", err)
	}
	i := newInstance(&l.options, l.busURL, source, executable, onHealth)
	p, err := i.start(ctx)
	if err != nil {
		i.release()
		return nil, err
	}
	go i.supervise(p) // Close waits for supervise to return
	return i, nil
}
