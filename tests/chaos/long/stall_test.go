//go:build chaos && unix

package long_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"
)

const (
	// stallCheck is the time between two checks of watchStalls.
	stallCheck = 20 * time.Millisecond
	// stallMin is the shortest stall that is recorded.
	stallMin = 500 * time.Millisecond
)

// stalled records a stall: the test, a process or the broker has had no CPU time since the given
// time. It ignores times that are shorter than stallMin.
func (l *ledger) stalled(since time.Time) {
	if now := time.Now(); now.Sub(since) >= stallMin {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.stalls = append(l.stalls, window{since, now})
	}
}

// watchStalls records the stalls of this process and of the broker until the test ends. The processes
// of the fleet report their own stalls.
func (f *fleet) watchStalls() {
	f.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{}, 2)
	go func() { // this goroutine ends before the test does
		defer func() { ended <- struct{}{} }()
		for last := time.Now(); sleep(ctx, stallCheck); last = time.Now() {
			f.records.stalled(last)
		}
	}()
	go func() { // this goroutine ends before the test does
		defer func() { ended <- struct{}{} }()
		for f.broker != nil && sleep(ctx, stallCheck) {
			f.watchBroker(ctx)
		}
	}()
	f.t.Cleanup(func() {
		stop()
		<-ended
		<-ended
	})
}

// sleep waits for the duration d. It returns false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// watchBroker sends PING to the broker until the connection is lost. It records a stall if the
// response takes too long. Redis and NATS both respond with PONG.
func (f *fleet) watchBroker(ctx context.Context) {
	parsed, err := url.Parse(f.url)
	if err != nil {
		return
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", parsed.Host)
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer conn.Close()
	if parsed.Scheme == "nats" {
		_, _ = fmt.Fprint(conn, "CONNECT {\"verbose\":false}\r\n")
	}
	for lines := bufio.NewScanner(conn); sleep(ctx, stallCheck); {
		sent := time.Now()
		if _, err := fmt.Fprint(conn, "PING\r\n"); err != nil {
			return
		}
		for answered := false; !answered; answered = strings.Contains(lines.Text(), "PONG") {
			if !lines.Scan() {
				return
			}
		}
		f.records.stalled(sent)
	}
}

// The broker of a fleet is stopped. The fleet must record this stall.
func TestStalls_OfTheBroker(t *testing.T) {
	onBrokers(t, func(t *testing.T, f *fleet) {
		f.watchStalls()
		pause(time.Second)
		stopped := time.Now()
		f.broker.Pause()
		pause(2 * stallMin)
		f.broker.Resume()
		pause(time.Second)
		f.records.mu.Lock()
		defer f.records.mu.Unlock()
		if !touched(f.records.stalls, attempt{begun: stopped, ended: stopped.Add(stallMin)}) {
			t.Error("the stall was not recorded", f.records.stalls)
		}
	})
}
