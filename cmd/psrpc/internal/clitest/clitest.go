package clitest

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/verbs"
)

// Env is the environment of a run. The zero value is an empty one.
type Env struct {
	// Bus is used in place of the bus of any URL, and stays open after the run. If it is nil, the
	// run opens the URL.
	Bus bus.Bus
	// Vars contains environment variables. If HOME is not among them, it is set to an empty
	// directory.
	Vars map[string]string
	// Context interrupts the run when it is canceled, as a signal does. If it is nil, the context
	// of the test is used.
	Context context.Context //nolint:containedctx // an optional argument of Run
	// Now returns the current time. If it is nil, time.Now is used.
	Now func() time.Time
	// DefaultWait is how long verbs wait for answers by default. If it is 0, they wait for half a
	// minute. It matters only for servers that do not answer.
	DefaultWait time.Duration
	// Stdin is the standard input. If it is nil, the standard input is the argument of Run.
	Stdin io.Reader
	// Terminal makes the run treat the standard output as a terminal.
	Terminal bool
	// OnOutput is called during the run with each text that is written to the standard output or
	// the standard error. It may be nil. The result contains the texts in any case.
	OnOutput func(text string)
}

// Result contains the output of a run and its exit code.
type Result struct {
	Stdout, Stderr string
	Exit           int
}

// Run runs the command line with the given arguments and standard input. It is safe for concurrent
// use.
func Run(tb testing.TB, env Env, stdin string, args ...string) Result {
	tb.Helper()
	vars := map[string]string{"HOME": filepath.Join(tb.TempDir(), "home")}
	maps.Copy(vars, env.Vars)
	stdout, stderr := &recorder{tee: env.OnOutput}, &recorder{tee: env.OnOutput}
	a := app.New()
	a.In, a.Out, a.Err = strings.NewReader(stdin), stdout, stderr
	if env.Stdin != nil {
		a.In = env.Stdin
	}
	a.Env = func(name string) string { return vars[name] }
	a.Terminal = env.Terminal
	a.GivenBus, a.DefaultWait = env.Bus, cmp.Or(env.DefaultWait, 30*time.Second)
	if env.Now != nil {
		a.Now = env.Now
	}
	ctx := env.Context
	if ctx == nil {
		ctx = tb.Context()
	}
	exit := verbs.Run(ctx, a, args)
	return Result{Stdout: stdout.String(), Stderr: stderr.String(), Exit: exit}
}

// recorder keeps what is written to it. It is safe for concurrent use.
type recorder struct {
	tee func(text string)

	mu   sync.Mutex
	text bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	n, err := r.text.Write(p)
	r.mu.Unlock()
	if r.tee != nil {
		r.tee(string(p))
	}
	return n, err
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}
