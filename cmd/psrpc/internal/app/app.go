package app

import (
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/contexts"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/schema"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// App is one run of the command line. It opens the bus, the conn and the rest when a verb first
// asks for them, and Close releases them. An App is not safe for concurrent use, except for the
// methods that write output.
type App struct {
	// In, Out and Err are the standard streams.
	In       io.Reader
	Out, Err io.Writer
	// Env returns the value of an environment variable, or "".
	Env func(name string) string
	// Now returns the current time.
	Now func() time.Time
	// Terminal reports whether Out is a terminal.
	Terminal bool
	// GivenBus is used instead of the bus of the settings, unless it is nil. Close does not close it.
	GivenBus bus.Bus
	// DefaultWait replaces the default times for which verbs wait: for answers, for late updates, and
	// for requests that a gateway still handles when it ends. If it is 0, the default times apply.
	// Tests set it, because servers on a busy machine may take longer.
	DefaultWait time.Duration
	// ConnOptions are used for the conn, after those of the settings. They must be set before Conn is
	// first called.
	ConnOptions []dynamic.ConnOption
	// Flags contains the values of the common flags.
	Flags Flags

	// writing is held while a goroutine of a verb writes, so that lines are not mixed.
	writing  sync.Mutex
	level    *slog.LevelVar
	registry *registry.Registry
	settings *contexts.Context
	schema   *schema.Chain
	bus      bus.Bus
	// unreachable is the error of the failed attempt to open the bus. Later calls return it,
	// because the bus is not opened a second time.
	unreachable error
	conn        *dynamic.Conn
	fleet       *fleet.Fleet
	// closers contains the functions that release what was opened. Close calls them in reverse
	// order.
	closers []func() error
}

// Flags contains the values of the flags that all verbs have.
type Flags struct {
	Bus, Context, Prefix         string
	Proto, Import, DescriptorSet []string
	Timeout                      time.Duration
	Output, Color                string
	Quiet, Verbose               bool
	// Digest is the value of the flag --digest, which [App.AddDigest] adds to some verbs.
	Digest string
	// Yes is the value of the flag --yes, which [App.AddYes] adds to some verbs.
	Yes bool
}

// New returns an App with the streams and the environment of the process.
func New() *App {
	return &App{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Env: os.Getenv, Now: time.Now,
		Terminal: isTerminal(os.Stdout),
	}
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Close releases what was opened: the conn and the bus, in this order.
func (a *App) Close() error {
	var problems []error
	for _, release := range slices.Backward(a.closers) {
		problems = append(problems, release())
	}
	a.closers, a.bus, a.conn, a.fleet = nil, nil, nil, nil
	return errors.Join(problems...)
}

// OnClose adds a function that Close calls before it releases what was opened earlier.
func (a *App) OnClose(release func() error) { a.closers = append(a.closers, release) }
