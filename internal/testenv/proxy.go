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

// Proxy is a TCP proxy on a random loopback port, with faults. Its methods return when the fault is in force, and
// may be called by several goroutines. A connection counts as open at the latest when a byte has come through it.
type Proxy struct {
	tb         testing.TB
	target     string
	addr       string
	delay      atomic.Int64   // a time.Duration
	goroutines sync.WaitGroup // all goroutines of the proxy

	mu         sync.Mutex
	listener   net.Listener // nil: connections are refused
	blackHoled bool         // what comes in on new connections
	conns      map[*proxyConn]struct{}
}

// NewProxy starts a proxy in front of target, a host and port. It ends, with its connections, when the test does.
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

// Cut closes the connections that are open, in good order: both ends read EOF. New ones are accepted.
func (p *Proxy) Cut() { p.eachConn((*proxyConn).cut) }

// Reset breaks the connections that are open: both ends get "connection reset by peer". New ones are accepted.
func (p *Proxy) Reset() { p.eachConn((*proxyConn).reset) }

// BlackHole swallows, from now on, what comes in on the connections that are open, both ways, also an end's closing.
// They stay open. New ones work.
func (p *Proxy) BlackHole() { p.eachConn((*proxyConn).blackHole) }

// BlackHoleAll is BlackHole for new connections, too, until Heal: they are accepted, and never answered.
func (p *Proxy) BlackHoleAll() {
	p.acceptConns(true)
	p.BlackHole()
}

// Refuse has new connections refused, until Heal. Those that are open work on.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
}

// Delay lets each byte wait for d before it is passed on, either way, on all connections. 0, the default, ends it
// for what comes in from now on.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Heal ends Refuse and BlackHoleAll: new connections work. Those that were black-holed stay so.
func (p *Proxy) Heal() { p.acceptConns(false) }

func (p *Proxy) acceptConns(blackHoled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blackHoled = blackHoled
	if p.listener != nil {
		return
	}
	listener, err := listenOn(p.addr)
	if err != nil {
		p.tb.Errorf("the proxy's port was taken while it refused connections: %v", err)
		return
	}
	p.acceptLocked(listener)
}

func (p *Proxy) acceptLocked(listener net.Listener) {
	p.listener = listener
	p.goroutines.Go(func() { // NewProxy's cleanup waits for it
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			p.open(listener, client.(*net.TCPConn))
		}
	})
}

// open connects a client that came in through listener.
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
	if p.listener != listener { // connections are refused by now
		c.reset()
		return
	}
	if p.blackHoled {
		c.blackHole()
	}
	p.conns[c] = struct{}{}
	p.goroutines.Go(c.run) // NewProxy's cleanup waits for it
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
