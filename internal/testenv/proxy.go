package testenv

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var dialer = net.Dialer{Timeout: 5 * time.Second}

// Proxy is a TCP proxy on a random loopback port that simulates network faults. Its methods return
// when the fault is in effect, and may be called concurrently. A connection counts as open once a
// byte has passed through it.
type Proxy struct {
	tb     testing.TB
	target string
	addr   string
	delay  atomic.Int64 // nanoseconds
	// goroutines tracks all goroutines of the proxy.
	goroutines sync.WaitGroup

	mu sync.Mutex
	// listener is nil while connections are refused.
	listener net.Listener
	// blackHoled applies to new connections.
	blackHoled bool
	conns      map[*proxyConn]struct{}
}

// NewProxy starts a proxy for target, a host and port. It stops, and closes its connections, when
// the test ends.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	listener := listen(tb)
	p := &Proxy{tb: tb, target: target, addr: listener.Addr().String(), conns: map[*proxyConn]struct{}{}}
	tb.Cleanup(func() {
		p.Refuse()
		p.Reset()
		p.goroutines.Wait()
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.acceptLocked(listener)
	return p
}

// Addr returns host and port.
func (p *Proxy) Addr() string { return p.addr }

// Cut closes all open connections gracefully: both ends read EOF. New connections are accepted.
func (p *Proxy) Cut() { p.eachConn((*proxyConn).cut) }

// Reset resets all open connections: both ends get "connection reset by peer". New connections are
// accepted.
func (p *Proxy) Reset() { p.eachConn((*proxyConn).reset) }

// BlackHole discards all data on the open connections from now on, in both directions, including
// their end. The connections stay open. New connections work.
func (p *Proxy) BlackHole() { p.eachConn((*proxyConn).blackHole) }

// BlackHoleAll does the same for open connections and, until Heal, for new ones: they are accepted
// but get no answer.
func (p *Proxy) BlackHoleAll() {
	p.acceptConns(true)
	p.BlackHole()
}

// Refuse makes the proxy refuse new connections until Heal. Open connections keep working.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
}

// Delay delays all data by d, in both directions and on all connections. Zero, the default, ends
// the delay for data that arrives from now on.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Heal ends Refuse and BlackHoleAll: new connections work. Black-holed connections stay
// black-holed.
func (p *Proxy) Heal() { p.acceptConns(false) }

// acceptConns makes the proxy accept connections, and black-hole them if blackHoled is true.
func (p *Proxy) acceptConns(blackHoled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blackHoled = blackHoled
	if p.listener != nil {
		return
	}
	listener, err := listenOn(p.addr)
	if err != nil {
		p.tb.Errorf("cannot listen on the proxy's port again: %v", err)
		return
	}
	p.acceptLocked(listener)
}

func (p *Proxy) acceptLocked(listener net.Listener) {
	p.listener = listener
	p.goroutines.Go(func() { // the cleanup in NewProxy waits for this goroutine
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			p.open(listener, client.(*net.TCPConn))
		}
	})
}

// open connects a client, which listener has accepted, to the target.
func (p *Proxy) open(listener net.Listener, client *net.TCPConn) {
	p.mu.Lock()
	blackHoled := p.blackHoled
	p.mu.Unlock()
	c := &proxyConn{proxy: p, client: client, blackHoled: make(chan struct{})}
	if blackHoled {
		c.blackHole()
	} else {
		server, err := dialer.DialContext(context.Background(), "tcp", p.target)
		if err != nil {
			c.reset()
			return
		}
		c.server = server.(*net.TCPConn)
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != listener { // Refuse was called meanwhile
		c.reset()
		return
	}
	if p.blackHoled {
		c.blackHole()
	}
	p.conns[c] = struct{}{}
	p.goroutines.Go(c.run) // the cleanup in NewProxy waits for this goroutine
}

func (p *Proxy) remove(c *proxyConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *Proxy) eachConn(do func(*proxyConn)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		do(c)
	}
}
