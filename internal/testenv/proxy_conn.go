package testenv

import (
	"io"
	"net"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// At most chunks times chunkSize bytes are under way in one direction; then the sender has to wait.
const (
	chunkSize = 16 << 10
	chunks    = 64
)

// link is a connection through the proxy.
type link struct {
	proxy     *Proxy
	client    *net.TCPConn
	server    *net.TCPConn  // nil if the link was swallowed from the start
	swallowed chan struct{} // closed when nothing is passed on any more
	once      sync.Once     // guards the closing of swallowed
}

// chunk is what was read at once.
type chunk struct {
	bytes []byte
	due   time.Time // when to pass it on
}

// run passes bytes on until both ends have been closed.
func (l *link) run() {
	defer l.proxy.forget(l)
	defer l.eachEnd(func(end *net.TCPConn) { _ = end.Close() })
	if l.server == nil {
		_, _ = io.Copy(io.Discard, l.client)
		return
	}
	var directions sync.WaitGroup
	directions.Go(func() { l.pass(l.client, l.server) })
	directions.Go(func() { l.pass(l.server, l.client) })
	directions.Wait()
}

// pass works in one direction, until from is closed and all that came from it was written.
func (l *link) pass(from, to *net.TCPConn) {
	queue := make(chan chunk, chunks)
	var writer sync.WaitGroup
	writer.Go(func() { l.write(queue, to) })
	l.read(from, queue)
	close(queue)
	writer.Wait()
}

func (l *link) read(from *net.TCPConn, queue chan<- chunk) {
	for {
		buffer := make([]byte, chunkSize)
		n, err := from.Read(buffer)
		if n > 0 {
			due := time.Now().Add(time.Duration(l.proxy.delay.Load()))
			select {
			case queue <- chunk{buffer[:n], due}:
			case <-l.swallowed:
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				l.fail()
			}
			return
		}
	}
}

// write ends early if the link is swallowed.
func (l *link) write(queue <-chan chunk, to *net.TCPConn) {
	for chunk := range queue {
		if !l.waitUntil(chunk.due) {
			return
		}
		if _, err := to.Write(chunk.bytes); err != nil {
			l.fail()
			return
		}
	}
	if !l.isSwallowed() {
		_ = to.CloseWrite() // the other direction goes on
	}
}

// waitUntil reports false if the link is swallowed.
func (l *link) waitUntil(due time.Time) bool {
	if wait := time.Until(due); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-l.swallowed:
		}
	}
	return !l.isSwallowed()
}

func (l *link) isSwallowed() bool {
	select {
	case <-l.swallowed:
		return true
	default:
		return false
	}
}

// fail passes on that an end was reset.
func (l *link) fail() {
	if !l.isSwallowed() {
		l.reset()
	}
}

func (l *link) swallow() { l.once.Do(func() { close(l.swallowed) }) }

func (l *link) cut() {
	l.swallow()
	l.eachEnd(func(end *net.TCPConn) {
		_ = end.CloseWrite() // to close it at once would be a reset, if there is something left to read
		_ = end.Close()
	})
}

func (l *link) reset() {
	l.swallow()
	l.eachEnd(func(end *net.TCPConn) {
		_ = end.SetLinger(0)
		_ = end.Close()
	})
}

func (l *link) eachEnd(do func(*net.TCPConn)) {
	do(l.client)
	if l.server != nil {
		do(l.server)
	}
}
