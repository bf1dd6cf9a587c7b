package testenv

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// The proxy buffers at most chunks*chunkSize bytes per connection and direction. It stops reading
// while the buffer is full.
const (
	chunkSize = 16 << 10
	chunks    = 64
)

// proxyFaults contains the faults that affect all connections of a proxy.
type proxyFaults struct {
	delay atomic.Int64 // nanoseconds by which data is delayed
	// muted reports whether data from clients is discarded, and deafened whether data from the
	// target is discarded.
	muted, deafened atomic.Bool
}

// proxyConn is a connection through the proxy.
type proxyConn struct {
	faults *proxyFaults
	client *net.TCPConn
	// server is the connection to the target. It is nil if the client connected while BlackHoleAll
	// was in effect.
	server *net.TCPConn
	// blackHoled is closed when the proxy stops forwarding data on this connection.
	blackHoled chan struct{}
	once       sync.Once
}

// chunk is the data returned by one read. sendAt is the time at which the proxy writes the data to
// the other end.
type chunk struct {
	bytes  []byte
	sendAt time.Time
}

// run forwards data until both ends are closed.
func (c *proxyConn) run() {
	defer c.eachSocket(func(end *net.TCPConn) { _ = end.Close() })
	if c.server == nil {
		_, _ = io.Copy(io.Discard, c.client)
		return
	}
	var directions sync.WaitGroup
	directions.Go(func() { c.forward(c.client, c.server) })
	directions.Go(func() { c.forward(c.server, c.client) })
	directions.Wait()
}

// forward copies data in one direction. It returns when source is closed and all data from source
// has been written. If the connection is black-holed, the data is discarded instead.
func (c *proxyConn) forward(source, destination *net.TCPConn) {
	queue := make(chan chunk, chunks)
	var writer sync.WaitGroup
	writer.Go(func() { c.write(queue, destination) })
	c.read(source, queue)
	close(queue)
	writer.Wait()
}

func (c *proxyConn) read(source *net.TCPConn, queue chan<- chunk) {
	for {
		buffer := make([]byte, chunkSize)
		n, err := source.Read(buffer)
		if n > 0 && !c.isDiscarded(source) {
			sendAt := time.Now().Add(time.Duration(c.faults.delay.Load()))
			select {
			case queue <- chunk{buffer[:n], sendAt}:
			case <-c.blackHoled:
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				c.forwardReset()
			}
			return
		}
	}
}

// isDiscarded reports whether Mute or Deafen makes the proxy discard the data from source.
func (c *proxyConn) isDiscarded(source *net.TCPConn) bool {
	if source == c.client {
		return c.faults.muted.Load()
	}
	return c.faults.deafened.Load()
}

// write writes the chunks from queue to destination. It returns early if the connection is
// black-holed or a write fails.
func (c *proxyConn) write(queue <-chan chunk, destination *net.TCPConn) {
	for chunk := range queue {
		if !c.waitUntil(chunk.sendAt) {
			return
		}
		if _, err := destination.Write(chunk.bytes); err != nil {
			c.forwardReset()
			return
		}
	}
	if !c.isBlackHoled() {
		_ = destination.CloseWrite() // closes only this direction
	}
}

// waitUntil waits until deadline. It returns false if the connection is black-holed.
func (c *proxyConn) waitUntil(deadline time.Time) bool {
	if wait := time.Until(deadline); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.blackHoled:
		}
	}
	return !c.isBlackHoled()
}

func (c *proxyConn) isBlackHoled() bool {
	select {
	case <-c.blackHoled:
		return true
	default:
		return false
	}
}

// forwardReset resets both ends after one of them has been reset, unless the connection is
// black-holed.
func (c *proxyConn) forwardReset() {
	if !c.isBlackHoled() {
		c.reset()
	}
}

func (c *proxyConn) blackHole() { c.once.Do(func() { close(c.blackHoled) }) }

func (c *proxyConn) cut() {
	c.blackHole()
	c.eachSocket(func(end *net.TCPConn) {
		_ = end.CloseWrite() // if there is unread data, Close alone would send a reset
		_ = end.Close()
	})
}

func (c *proxyConn) reset() {
	c.blackHole()
	c.eachSocket(func(end *net.TCPConn) {
		_ = end.SetLinger(0)
		_ = end.Close()
	})
}

func (c *proxyConn) eachSocket(do func(*net.TCPConn)) {
	do(c.client)
	if c.server != nil {
		do(c.server)
	}
}
