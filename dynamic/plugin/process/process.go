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

// outputGrace is how long the output of a process is read after its end: others may hold it open.
const outputGrace = time.Second

// process is one run of a program, from its start until it is reaped and its output is read.
type process struct {
	command    *exec.Cmd
	stdin      io.Closer
	done       chan struct{} // closed when nothing is left of it
	exitErr    error         // how it ended; set before ended is closed
	lastOutput func() string // what it wrote last

	mu     sync.Mutex
	reaped bool // its id may be another's
}

// startProcess runs a program whose output goes line by line to two functions, on goroutines of their own.
func startProcess(command *exec.Cmd, stdout, stderr func(line []byte)) (*process, error) {
	p := &process{command: command, done: make(chan struct{})}
	started := make(chan error, 1)
	go p.run(started, stdout, stderr) // whoever waits for ended
	return p, <-started
}

// run stays on one thread, for on Linux the system kills the process when the thread that has started it ends.
func (p *process) run(started chan<- error, stdout, stderr func(line []byte)) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	outputs, err := p.start()
	started <- err
	if err != nil {
		return
	}
	var reading sync.WaitGroup
	for i, handle := range []func([]byte){stdout, stderr} {
		reading.Go(func() { readLines(outputs[i], handle) })
	}
	p.exitErr = p.reap()
	for _, output := range outputs {
		_ = output.SetReadDeadline(time.Now().Add(outputGrace))
	}
	reading.Wait()
	closeAll(outputs)
}

// start returns the reading ends of the program's stdout and stderr.
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

// signal reaches the whole group of the process, unless it is gone.
func (p *process) signal(send func(pid int) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = send(p.command.Process.Pid) // fails if it has just ended
	}
}

// stop asks the process to end, kills it when ctx ends, and returns when it is gone.
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
		"its process did not end in time and was killed: %w", ctx.Err())
}

// kill returns when the process is gone.
func (p *process) kill() {
	p.signal(killGroup)
	<-p.done
}
