package testenv

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

var dialer = net.Dialer{Timeout: 5 * time.Second}

// Proxy is a TCP proxy that listens on a random loopback port and simulates network faults. Its
// methods return when the fault is in effect, and are safe for concurrent use. Methods that act on
// open connections may miss a connection through which no data has passed yet.
type Proxy struct {
	tb     testing.TB
	target string
	addr   string
	faults proxyFaults
	// goroutines tracks all goroutines started by the proxy.
	goroutines sync.WaitGroup

	mu sync.Mutex
	// listener accepts connections from clients. It is nil while new connections are refused.
	listener net.Listener
	// blackHoled reports whether all data on new connections is discarded; see BlackHoleAll.
	blackHoled bool
	conns      map[*proxyConn]struct{}
}

// NewProxy starts a proxy for target, which consists of a host and a port. When the test ends, the
// proxy stops and closes its connections.
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

// Addr returns the proxy's host and port.
func (p *Proxy) Addr() string { return p.addr }

// Cut closes all open connections gracefully, so both ends read EOF. New connections are still
// accepted.
func (p *Proxy) Cut() { p.eachConn((*proxyConn).cut) }

// Reset resets all open connections, so both ends get "connection reset by peer". New connections
// are still accepted.
func (p *Proxy) Reset() { p.eachConn((*proxyConn).reset) }

// BlackHole makes the proxy discard all further data on the open connections, in both directions.
// If one end closes its connection, the other end is not notified. New connections work normally.
func (p *Proxy) BlackHole() { p.eachConn((*proxyConn).blackHole) }

// BlackHoleAll does the same as BlackHole. It also affects new connections until Heal is called:
// the proxy accepts them but discards all of their data.
func (p *Proxy) BlackHoleAll() {
	p.acceptConns(true)
	p.BlackHole()
}

// Refuse makes the proxy refuse new connections until Heal is called. Open connections keep
// working.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener == nil {
		return
	}
	_ = p.listener.Close()
	p.listener = nil
	// Another test may have just forked a child process. Until the child executes its program, it
	// has a copy of the listener, which keeps the port open.
	err := poll(nil, func() error {
		conn, err := dialer.Dial("tcp", p.addr)
		if err != nil {
			return nil //nolint:nilerr // the port refuses connections
		}
		_ = conn.Close()
		return errStillOpen
	})
	if err != nil {
		p.tb.Errorf("cannot refuse connections to the proxy: %v", err)
	}
}

var errStillOpen = errors.New("the port is still open")

// Delay delays all data on all connections by d, in both directions. The default is zero. A change
// applies only to data that the proxy receives after the call.
func (p *Proxy) Delay(d time.Duration) { p.faults.delay.Store(int64(d)) }

// Mute makes the proxy discard the data that clients send, on open and on new connections. If muted
// is false, the proxy forwards such data again. Mute does not affect data from the target.
func (p *Proxy) Mute(muted bool) { p.faults.muted.Store(muted) }

// Deafen makes the proxy discard the data that the target sends, on open and on new connections. If
// deafened is false, the proxy forwards such data again. Deafen does not affect data from clients.
func (p *Proxy) Deafen(deafened bool) { p.faults.deafened.Store(deafened) }

// Heal ends the effects of Refuse and BlackHoleAll: new connections work normally again.
// Connections whose data is already being discarded do not recover.
func (p *Proxy) Heal() { p.acceptConns(false) }

// acceptConns makes the proxy accept new connections. If blackHoled is true, all data on the new
// connections is discarded.
func (p *Proxy) acceptConns(blackHoled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blackHoled = blackHoled
	if p.listener != nil {
		return
	}
	// Another test may have just forked a child process. Until the child executes its program, it
	// has a copy of the closed listener, and listening on the same port fails.
	var listener net.Listener
	err := poll(nil, func() (err error) {
		listener, err = listenOn(p.addr)
		return err
	})
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

// open connects client, a connection accepted by listener, to the target.
func (p *Proxy) open(listener net.Listener, client *net.TCPConn) {
	p.mu.Lock()
	blackHoled := p.blackHoled
	p.mu.Unlock()
	c := &proxyConn{faults: &p.faults, client: client, blackHoled: make(chan struct{})}
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
	if p.listener != listener { // Refuse was called after the connection had been accepted
		c.reset()
		return
	}
	if p.blackHoled {
		c.blackHole()
	}
	p.conns[c] = struct{}{}
	p.goroutines.Go(func() { // the cleanup in NewProxy waits for this goroutine
		defer p.remove(c)
		c.run()
	})
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
