package testenv

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// maxStartAttempts is the maximum number of attempts to start a program.
const maxStartAttempts = 10

// process is a server program that can be started and killed repeatedly.
type process struct {
	tb      testing.TB
	program string
	args    []string
	// ready is the text that the program prints when it is ready to accept connections.
	ready string
	// output is the path of the file that contains the program's output.
	output  string
	running *exec.Cmd
	// exited is closed when the running process has exited.
	exited chan struct{}
}

// startOnFreePort starts a program on a free port and returns the process and its address. args
// returns the program's arguments for a port. The process is killed when the test ends.
func startOnFreePort(tb testing.TB, program, ready string, args func(port int) []string) (p *process, addr string) {
	tb.Helper()
	p = &process{tb: tb, program: program, ready: ready, output: filepath.Join(tb.TempDir(), "output")}
	tb.Cleanup(func() {
		p.kill()
		if tb.Failed() {
			tb.Logf("output of %s: %s", p.program, p.readOutput())
		}
	})
	var err error
	for range maxStartAttempts { // another process may take the port after freePort has checked it
		port := freePort(tb)
		p.args = args(port)
		if err = p.start(); err == nil {
			return p, loopback(port)
		}
	}
	tb.Fatal(err)
	return nil, ""
}

// restart kills the program and starts it again on the same port.
func (p *process) restart() {
	p.tb.Helper()
	p.kill()
	var err error
	for range maxStartAttempts {
		if err = p.start(); err == nil {
			return
		}
	}
	p.tb.Fatal(err)
}

// start starts the program and waits until it is ready. If start returns an error, the program is
// not running.
func (p *process) start() error {
	output, err := os.Create(p.output)
	if err != nil {
		return err
	}
	defer output.Close() //nolint:errcheck // the program has its own file descriptor

	command := exec.CommandContext(context.Background(), p.program, p.args...) //nolint:gosec // tests choose the program and its arguments
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr = killWithParent()
	if err := command.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	p.running, p.exited = command, exited
	go func() { // kill waits for this goroutine
		defer close(exited)
		_ = command.Wait()
	}()
	if err := p.awaitReady(); err != nil {
		p.kill()
		return err
	}
	return nil
}

// awaitReady waits until the program has printed its ready message. It does not try to connect to
// the port instead, because another program may have taken the port.
func (p *process) awaitReady() error {
	err := poll(p.exited, func() error {
		if !bytes.Contains(p.readOutput(), []byte(p.ready)) {
			return errors.NewErrorf(errors.Unavailable, "not ready")
		}
		return nil
	})
	if err != nil {
		return errors.NewErrorf(errors.Unavailable, "%s %q: %w; output: %s", p.program, p.args, err, p.readOutput())
	}
	return nil
}

func (p *process) readOutput() []byte {
	said, err := os.ReadFile(p.output)
	if err != nil {
		return []byte(err.Error())
	}
	return said
}

// kill kills the process and waits until it has exited. It does nothing if the process is not
// running.
func (p *process) kill() {
	if p.running == nil {
		return
	}
	_ = p.running.Process.Kill() // fails only if the process has already exited
	<-p.exited
	p.running = nil
}

// pause stops the process until resume is called. It works only on Linux.
func (p *process) pause() {
	p.tb.Helper()
	if err := stopProcess(p.requireRunning()); err != nil {
		p.tb.Fatalf("%s was not paused: %v", p.program, err)
	}
}

// resume continues the process after pause.
func (p *process) resume() {
	p.tb.Helper()
	if err := continueProcess(p.requireRunning()); err != nil {
		p.tb.Fatalf("%s was not resumed: %v", p.program, err)
	}
}

// requireRunning returns the running process. It fails the test if the process is not running.
func (p *process) requireRunning() *os.Process {
	p.tb.Helper()
	if p.running == nil {
		p.tb.Fatalf("%s is not running", p.program)
	}
	return p.running.Process
}
