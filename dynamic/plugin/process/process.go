package process

import (
	"context"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// outputGrace is how long the host reads the output of a process after the process has exited. A
// descendant of the process may keep the output pipe open. Without a limit, the host would then
// read forever.
const outputGrace = time.Second

// process is a single run of a program. The run has ended when the process has been reaped and its
// output has been read.
type process struct {
	command *exec.Cmd
	family  family
	stdin   io.Closer
	// done is closed when the process has been reaped and its output has been read.
	done chan struct{}
	// exitErr is the error returned by exec.Cmd.Wait. It is set before done is closed.
	exitErr error
	// lastOutput returns the last lines of standard error. It is set when the process is ready.
	lastOutput func() string

	mu sync.Mutex
	// reaped reports whether the process has been reaped. From then on, its ID may belong to
	// another process.
	reaped bool
}

// startProcess starts a program. It calls stdout with each line of standard output, and stderr with
// each line of standard error. Each of these functions is called on a goroutine of its own.
func startProcess(command *exec.Cmd, family family, stdout, stderr func(line []byte)) (*process, error) {
	p := &process{command: command, family: family, done: make(chan struct{})}
	started := make(chan error, 1)
	go p.run(started, stdout, stderr) // stop and kill wait for this goroutine
	return p, <-started
}

// run starts the program and waits until it has exited. For that time, it locks its goroutine to an
// OS thread, because Linux kills the process when the thread that started it exits; see the field
// Pdeathsig of syscall.SysProcAttr.
func (p *process) run(started chan<- error, stdout, stderr func(line []byte)) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	outputs, err := p.start()
	started <- err
	if err != nil {
		return
	}
	p.family.guardian.setGroup(p.command.Process.Pid)
	var reading sync.WaitGroup
	for i, handle := range []func([]byte){stdout, stderr} {
		reading.Go(func() { readLines(outputs[i], handle) })
	}
	p.exitErr = p.reap()
	p.family.guardian.setGroup(0)
	killMarked(p.family.mark)
	for _, output := range outputs {
		_ = output.SetReadDeadline(time.Now().Add(outputGrace))
	}
	reading.Wait()
	closeAll(outputs)
}

// start starts the program and returns the read ends of the pipes for its stdout and stderr.
func (p *process) start() (outputs []*os.File, err error) {
	var writeEnds []*os.File
	defer func() {
		closeAll(writeEnds)
		if err != nil {
			closeAll(outputs)
		}
	}()
	for _, stream := range []*io.Writer{&p.command.Stdout, &p.command.Stderr} {
		readEnd, writeEnd, err := os.Pipe()
		if err != nil {
			return outputs, err
		}
		*stream = writeEnd
		outputs, writeEnds = append(outputs, readEnd), append(writeEnds, writeEnd)
	}
	if p.stdin, err = p.command.StdinPipe(); err != nil {
		return outputs, err
	}
	return outputs, p.command.Start()
}

func closeAll(files []*os.File) {
	for _, file := range files {
		_ = file.Close()
	}
}

// signal calls the function send with the process ID, unless the process has been reaped. send is
// terminateGroup or killGroup.
func (p *process) signal(send func(pid int) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = send(p.command.Process.Pid) // this fails if the process has just exited
	}
}

// stop asks the process to exit, by closing stdin and sending SIGTERM, and returns when the process
// has exited. If ctx ends first, stop kills the process and returns an error.
func (p *process) stop(ctx context.Context) error {
	_ = p.stdin.Close()
	p.signal(terminateGroup)
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	p.kill()
	return errors.NewErrorf(errors.FromContext(ctx.Err()).Code(),
		"the process did not exit in time and was killed: %w", ctx.Err())
}

// kill kills the process group and returns when the process has exited.
func (p *process) kill() {
	p.signal(killGroup)
	<-p.done
}
