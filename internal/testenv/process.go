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

// maxStartAttempts is how often a program is started before it counts as broken.
const maxStartAttempts = 10

// process is a server program. It runs from start to kill, any number of times.
type process struct {
	tb      testing.TB
	program string
	args    []string
	ready   string // what it prints when it accepts connections
	output  string // the file that it prints to
	running *exec.Cmd
	exited  chan struct{} // closed when the running process is gone
}

// startOnFreePort starts the program with the arguments for a port on which it can listen.
func startOnFreePort(tb testing.TB, program, ready string, args func(port int) []string) (p *process, addr string) {
	tb.Helper()
	p = &process{tb: tb, program: program, ready: ready, output: filepath.Join(tb.TempDir(), "output")}
	tb.Cleanup(func() {
		p.kill()
		if tb.Failed() {
			tb.Logf("%s said: %s", p.program, p.readOutput())
		}
	})
	var err error
	for range maxStartAttempts { // another process may take the port in the meantime
		port := freePort(tb)
		p.args = args(port)
		if err = p.start(); err == nil {
			return p, loopback(port)
		}
	}
	tb.Fatal(err)
	return nil, ""
}

// restart starts the program again, on the port that it had.
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

// start returns when the program is ready. If it fails the program does not run.
func (p *process) start() error {
	output, err := os.Create(p.output)
	if err != nil {
		return err
	}
	defer output.Close() //nolint:errcheck // the program has its own

	command := exec.CommandContext(context.Background(), p.program, p.args...) //nolint:gosec // of our own
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr = killWithParent()
	if err := command.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	p.running, p.exited = command, exited
	go func() { // kill waits for it
		defer close(exited)
		_ = command.Wait()
	}()
	if err := p.awaitReady(); err != nil {
		p.kill()
		return err
	}
	return nil
}

// awaitReady reads what the program prints. To connect to it would not do: another one might have taken its port.
func (p *process) awaitReady() error {
	err := poll(p.exited, func() error {
		if !bytes.Contains(p.readOutput(), []byte(p.ready)) {
			return errors.NewErrorf(errors.Unavailable, "it is not ready")
		}
		return nil
	})
	if err != nil {
		return errors.NewErrorf(errors.Unavailable, "%s %q: %w; it said: %s", p.program, p.args, err, p.readOutput())
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

// kill returns when the process is gone. It does nothing if none is running.
func (p *process) kill() {
	if p.running == nil {
		return
	}
	_ = p.running.Process.Kill() // fails if it is gone already
	<-p.exited
	p.running = nil
}

// signal sends a signal to the process, which must be running.
func (p *process) signal(signal os.Signal) {
	p.tb.Helper()
	if p.running == nil {
		p.tb.Fatalf("%s cannot be sent signal %s: it is not running", p.program, signal)
	}
	if err := p.running.Process.Signal(signal); err != nil {
		p.tb.Fatalf("%s cannot be sent signal %s: %v", p.program, signal, err)
	}
}
