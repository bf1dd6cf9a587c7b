//go:build chaos && unix

package chaos_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// patience is how long a test waits for what a process must do. It is longer than the process takes
// on a machine under load.
const patience = 30 * time.Second

// peer is a process of a fleet.
type peer struct {
	t          *testing.T
	role, name string
	command    *exec.Cmd
	stdin      io.Writer
	// link is the proxy between the process and the broker. It is nil if there is none.
	link *testenv.Proxy
	// ready, idle and stats receive the reports of these names.
	ready, idle chan struct{}
	stats       chan usage
	// exited is closed when the process has exited, and all of its reports are in the ledger.
	exited chan struct{}

	mu sync.Mutex
	// end is the argument of the report done, or "" if there was none.
	end string
}

// usage is what a process uses while it is idle.
type usage struct{ goroutines, descriptors, heap int }

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %.1f MB", u.goroutines, u.descriptors, float64(u.heap)/(1<<20))
}

// startPeer starts a process and waits until it is ready. The process is killed when the test ends.
func startPeer(t *testing.T, program, role, name, url string, records *ledger, args ...string) *peer {
	t.Helper()
	p := &peer{
		t: t, role: role, name: name, ready: make(chan struct{}, 1), idle: make(chan struct{}, 10), stats: make(chan usage, 10),
		exited: make(chan struct{}),
	}
	p.command = exec.CommandContext(context.Background(), program, append([]string{role, "-bus", url, "-name", name}, args...)...)
	p.command.Stderr = os.Stderr
	output, err := p.command.StdoutPipe()
	require.NoError(t, err)
	p.stdin, err = p.command.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, p.command.Start())
	go func() { // ends with the process
		defer close(p.exited)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			p.read(lines.Text(), records)
		}
		_ = p.command.Wait()
	}()
	t.Cleanup(p.kill)
	await(t, p.ready, name+" is ready")
	return p
}

// read handles a report.
func (p *peer) read(line string, records *ledger) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "ready":
		p.ready <- struct{}{}
	case "idle":
		p.idle <- struct{}{}
	case "stats":
		var u usage
		if _, err := fmt.Sscan(rest, &u.goroutines, &u.descriptors, &u.heap); err == nil {
			p.stats <- u
		}
	case "done":
		p.mu.Lock()
		defer p.mu.Unlock()
		p.end = rest
	default:
		records.note(p.name, line)
	}
}

func (p *peer) tellf(format string, args ...any) {
	p.t.Helper()
	_, err := fmt.Fprintf(p.stdin, format+"\n", args...)
	require.NoError(p.t, err, p.name)
}

// setRate makes a client make attempts. With the rate 0 it returns when all of them have ended.
func (p *peer) setRate(rate int) {
	p.t.Helper()
	p.tellf("rate " + strconv.Itoa(rate))
	if rate == 0 {
		await(p.t, p.idle, p.name+" is idle")
	}
}

func (p *peer) usage() usage {
	p.t.Helper()
	p.tellf("stats")
	return await(p.t, p.stats, "stats of "+p.name)
}

// signal fails the test if the process has exited.
func (p *peer) signal(signal syscall.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.command.Process.Signal(signal), p.name)
}

// kill kills the process and waits until it has exited.
func (p *peer) kill() {
	_ = p.command.Process.Kill() // fails if the process has exited
	<-p.exited
}

// terminate ends the process gracefully, and requires that it succeeds.
func (p *peer) terminate() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	await(p.t, p.exited, p.name+" ends")
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Equal(p.t, "<nil>", p.end, "graceful end of %s", p.name)
}

// await returns the next value of a channel, or its zero value when the channel is closed.
func await[T any](t *testing.T, from <-chan T, what string) (value T) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case value = <-from:
	case <-timer.C:
		require.FailNow(t, "not in time: "+what)
	}
	return value
}

// runs reports whether the process has not exited.
func (p *peer) runs() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}
