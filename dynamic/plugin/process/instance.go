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

// stableAfter is how long a process must have run to be considered stable. When a stable process
// exits, the restart delay is reset to the minimum.
const stableAfter = 10 * time.Second

// instance is one version of a plugin. Its process is restarted whenever it exits.
type instance struct {
	options *options
	// busURL returns the URL of the bus; see Loader.busURL.
	busURL     func() string
	source     *plugin.Source
	executable *executable
	guardian   *guardian
	onHealth   func(error)

	// ctx ends when Close is called. No process is started after that.
	ctx    context.Context //nolint:containedctx // it lives as long as the instance
	cancel context.CancelFunc
	// closeCtx is the context passed to Close. When it ends, supervise kills the process. It is set
	// before cancel is called.
	closeCtx context.Context //nolint:containedctx // it is the context of Close
	// done is closed when supervise returns.
	done chan struct{}
	// closeErr is the error that occurred when the process was stopped, or nil. It is set before
	// done is closed.
	closeErr error
}

func newInstance(
	o *options, busURL func() string, source *plugin.Source, executable *executable, onHealth func(error),
) *instance {
	i := &instance{
		options: o, busURL: busURL, source: source, executable: executable, guardian: startGuardian(executable, o.logger),
		onHealth: onHealth, done: make(chan struct{}),
	}
	i.ctx, i.cancel = context.WithCancel(context.Background())
	return i
}

// release frees the resources of the instance. It is called when the process is no longer running.
func (i *instance) release() {
	i.cancel()
	i.guardian.dismiss()
	i.executable.remove(i.options.logger)
}

// Services returns nil, because the process has its own connection to the bus.
func (i *instance) Services() []plugin.Service { return nil }

// Close stops the process gracefully. If ctx ends before the process has exited, Close kills it.
func (i *instance) Close(ctx context.Context) error {
	i.closeCtx = ctx
	i.cancel()
	<-i.done
	i.release()
	return i.closeErr
}

// start starts a process and returns when the process is ready. If start returns an error, the
// process is no longer running.
func (i *instance) start(ctx context.Context) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, i.options.readyTimeout)
	defer cancel()
	out := &output{logger: i.options.logger.With(
		slog.String("plugin", i.source.Name), slog.String("version", i.source.Version))}
	// readyErr receives nil when the process is ready, or an error if its services are wrong.
	readyErr := make(chan error, 1)
	stdout := func(line []byte) {
		ready, isReady, err := childproto.ParseReady(line)
		if !isReady {
			out.stdout(line)
			return
		}
		if err == nil {
			err = checkReady(i.source, ready)
		}
		select {
		case readyErr <- err:
		default: // the process has already reported that it is ready
		}
	}
	p, err := startProcess(i.command(), family{i.executable.mark(), i.guardian}, stdout, out.stderr)
	if err != nil {
		return nil, errors.NewErrorf(errors.Internal, "cannot start the process: %w: %s", err, i.startAdvice())
	}
	select {
	case err = <-readyErr:
	case <-p.done:
		err = errors.NewErrorf(errors.Unavailable,
			"the process exited before it was ready: %s; %s", describeExit(p.exitErr), out.lastLines())
	case <-ctx.Done():
		err = errors.NewErrorf(errors.FromContext(ctx.Err()).Code(),
			"the process was not ready in time: %w: it has not written its ready line; %s", ctx.Err(), out.lastLines())
	}
	if err != nil {
		// The process may already have received requests, so it is stopped gracefully. The error of
		// stop is ignored, because err says why the start failed.
		_ = p.stop(ctx)
		return nil, err
	}
	p.lastOutput = out.lastLines
	return p, nil
}

// startAdvice returns a text that says what to do if the executable cannot be started.
func (i *instance) startAdvice() string {
	if isNoexec(i.executable.path) {
		return "the file system of the folder of private copies, " + i.options.directory + ", is mounted noexec: " +
			"set another folder with WithDirectory or the environment variable TMPDIR"
	}
	return "the code must be a program for " + runtime.GOOS + "/" + runtime.GOARCH +
		", or a script that begins with #! and the path of a program"
}

// command returns the command that runs the executable.
func (i *instance) command() *exec.Cmd {
	command := exec.CommandContext(context.Background(), i.executable.path, i.source.Args...) //nolint:gosec // plugins are trusted
	command.Dir = i.executable.folder.Path
	command.SysProcAttr = attributes()
	command.Env = []string{}
	for _, name := range i.options.inheritedEnv {
		if value, ok := os.LookupEnv(name); ok {
			command.Env = append(command.Env, name+"="+value)
		}
	}
	command.Env = slices.Concat(command.Env, i.source.Env, []string{
		childproto.EnvBus + "=" + i.busURL(),
		childproto.EnvABI + "=" + strconv.Itoa(childproto.Version),
		childproto.EnvPlugin + "=" + i.source.Name,
		childproto.EnvVersion + "=" + i.source.Version,
		childproto.EnvFolder + "=" + i.source.Folder,
		i.executable.mark(),
	})
	return command
}

// supervise restarts the process whenever it exits. When Close is called, supervise stops the
// process and returns once the process has exited.
func (i *instance) supervise(p *process) {
	defer close(i.done)
	backoff := i.options.minBackoff
	for p != nil {
		startedAt := time.Now()
		select {
		case <-i.ctx.Done():
			i.closeErr = p.stop(i.closeCtx)
			return
		case <-p.done:
		}
		if time.Since(startedAt) >= stableAfter {
			backoff = i.options.minBackoff
		}
		i.onHealth(errors.NewErrorf(errors.Unavailable,
			"the process exited and will be restarted: %s; %s", describeExit(p.exitErr), p.lastOutput()))
		p, backoff = i.restart(backoff)
	}
}

// restart starts a new process after the delay given by backoff, with jitter. It repeats this, with
// longer delays, until a process is ready. It returns the process and the backoff for the next
// restart. If Close is called in the meantime, restart returns nil.
func (i *instance) restart(backoff time.Duration) (*process, time.Duration) {
	for {
		delay := time.NewTimer(backoff/2 + rand.N(backoff/2+1)) //nolint:gosec // jitter is not security-sensitive
		backoff = min(2*backoff, i.options.maxBackoff)
		select {
		case <-i.ctx.Done():
			delay.Stop()
			return nil, 0
		case <-delay.C:
		}
		p, err := i.start(i.ctx)
		switch {
		case err == nil:
			i.onHealth(nil)
			return p, backoff
		case i.ctx.Err() != nil:
			return nil, 0
		}
		i.onHealth(err)
	}
}

// describeExit describes how a process exited. err is the error returned by exec.Cmd.Wait.
func describeExit(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}
