//go:build chaos && unix

package long_test

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

// patience is the timeout for events that must happen. Even on a busy machine, they take less time.
const patience = 30 * time.Second

// peer is a process of a fleet.
type peer struct {
	t          *testing.T
	role, name string
	command    *exec.Cmd
	stdin      io.Writer
	// link is the proxy between the process and the broker. It is nil if the process connects
	// directly.
	link *testenv.Proxy
	// ready, idle and stats receive the reports with these names.
	ready, idle chan struct{}
	stats       chan usage
	// exited is closed when the process has exited and all of its reports have been handled.
	exited chan struct{}

	mu sync.Mutex
	// end is the text of the process's last report, done. It is empty if the process did not send
	// this report.
	end string
}

// usage contains the resources that a process uses.
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
	go func() { // this goroutine ends when the process exits
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

// read handles one line of the process's output.
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

// setRate sets the number of operations of each kind that a client starts per second. If rate is 0,
// setRate waits until the running operations have ended.
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

// signal sends a signal to the process. It fails the test if the process has exited.
func (p *peer) signal(signal syscall.Signal) {
	p.t.Helper()
	require.NoError(p.t, p.command.Process.Signal(signal), p.name)
}

// kill kills the process and waits until it has exited.
func (p *peer) kill() {
	_ = p.command.Process.Kill() // ignore the error, because the process may have exited
	<-p.exited
}

// terminate ends the process with SIGTERM. It fails the test if the process reports an error.
func (p *peer) terminate() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	await(p.t, p.exited, p.name+" ends")
	p.mu.Lock()
	defer p.mu.Unlock()
	require.Equal(p.t, "<nil>", p.end, "graceful end of %s", p.name)
}

// await returns the next value from a channel, or the zero value if the channel is closed. It fails
// the test if that takes longer than patience.
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

// runs reports whether the process is still running.
func (p *peer) runs() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}
