package process

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/childproto"
)

// stableAfter is how long a process must be up to count as one that starts well.
const stableAfter = 10 * time.Second

// instance is a program that is kept running.
type instance struct {
	loader     *Loader
	source     *plugin.Source
	executable *executable
	onHealth   func(error)

	// ctx ends with Close, which has set patience and waits for ended. killed is set before that.
	ctx      context.Context //nolint:containedctx // the life of the code
	cancel   context.CancelFunc
	closeCtx context.Context //nolint:containedctx // that of Close
	done     chan struct{}
	closeErr error
}

func newInstance(l *Loader, source *plugin.Source, executable *executable, onHealth func(error)) *instance {
	c := &instance{loader: l, source: source, executable: executable, onHealth: onHealth, done: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Services returns none: the process serves by itself.
func (c *instance) Services() []plugin.Service { return nil }

// Close asks the process to finish its requests and to end, and kills it when ctx ends.
func (c *instance) Close(ctx context.Context) error {
	c.closeCtx = ctx
	c.cancel()
	<-c.done
	c.executable.remove(c.loader.options.logger)
	return c.closeErr
}

// start returns when a process is ready, or gone.
func (c *instance) start(ctx context.Context) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, c.loader.options.readyTimeout)
	defer cancel()
	out := &output{logger: c.loader.options.logger.With(
		slog.String("plugin", c.source.Name), slog.String("version", c.source.Version))}
	readyErr := make(chan error, 1)
	stdout := func(line []byte) {
		ready, isReady, err := childproto.ParseReady(line)
		if !isReady {
			out.stdout(line)
			return
		}
		if err == nil {
			err = checkReady(c.source, ready)
		}
		select {
		case readyErr <- err:
		default: // it says so once more
		}
	}
	p, err := startProcess(c.command(), stdout, out.stderr)
	if err != nil {
		return nil, errors.NewErrorf(errors.Internal, "its process cannot be started: %w: "+
			"its code must be a program for %s/%s, or a script that begins with #!", err, runtime.GOOS, runtime.GOARCH)
	}
	select {
	case err = <-readyErr:
	case <-p.done:
		err = errors.NewErrorf(errors.Unavailable,
			"its process ended before it was ready: %s; %s", describeExit(p.exitErr), out.lastLines())
	case <-ctx.Done():
		err = errors.NewErrorf(errors.FromContext(ctx.Err()).Code(),
			"its process was not ready in time: %w: it has not written the line that says so; %s", ctx.Err(), out.lastLines())
	}
	if err != nil {
		_ = p.stop(ctx) // it may have requests; the error is why it is stopped
		return nil, err
	}
	p.lastOutput = out.lastLines
	return p, nil
}

// command returns what is to be run.
func (c *instance) command() *exec.Cmd {
	command := exec.CommandContext(context.Background(), c.executable.path, c.source.Args...) //nolint:gosec // a plugin
	command.Dir = c.executable.folder
	command.SysProcAttr = attributes()
	command.Env = []string{}
	for _, name := range c.loader.options.inheritedEnv {
		if value, ok := os.LookupEnv(name); ok {
			command.Env = append(command.Env, name+"="+value)
		}
	}
	command.Env = slices.Concat(command.Env, c.source.Env, []string{
		childproto.EnvBus + "=" + c.loader.busURL,
		childproto.EnvABI + "=" + strconv.Itoa(childproto.Version),
		childproto.EnvPlugin + "=" + c.source.Name,
		childproto.EnvVersion + "=" + c.source.Version,
		childproto.EnvFolder + "=" + c.source.Folder,
	})
	return command
}

// supervise keeps a process running until Close.
func (c *instance) supervise(p *process) {
	defer close(c.done)
	backoff := c.loader.options.minBackoff
	for p != nil {
		startedAt := time.Now()
		select {
		case <-c.ctx.Done():
			c.closeErr = p.stop(c.closeCtx)
			return
		case <-p.done:
		}
		if time.Since(startedAt) >= stableAfter {
			backoff = c.loader.options.minBackoff
		}
		c.onHealth(errors.NewErrorf(errors.Unavailable,
			"its process has ended and is started again: %s; %s", describeExit(p.exitErr), p.lastOutput()))
		p, backoff = c.restart(backoff)
	}
}

// restart returns when a process is ready, or without one when the code is closed.
func (c *instance) restart(backoff time.Duration) (*process, time.Duration) {
	for {
		delay := time.NewTimer(backoff/2 + rand.N(backoff/2+1)) //nolint:gosec // not a secret
		backoff = min(2*backoff, c.loader.options.maxBackoff)
		select {
		case <-c.ctx.Done():
			delay.Stop()
			return nil, 0
		case <-delay.C:
		}
		p, err := c.start(c.ctx)
		switch {
		case err == nil:
			c.onHealth(nil)
			return p, backoff
		case c.ctx.Err() != nil:
			return nil, 0
		}
		c.onHealth(err)
	}
}

func describeExit(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}
