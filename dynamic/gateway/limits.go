package gateway

import (
	"net"
	"sync"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

var (
	errTooManyStreams = errors.NewErrorf(errors.ResourceExhausted, "the gateway has too many open streams")
	errTooManyCalls   = errors.NewErrorf(errors.ResourceExhausted, "the gateway has too many running calls")
)

// callLimiter limits the number of single calls that run at the same time.
type callLimiter struct {
	limit   int
	running atomic.Int64
}

func (l *callLimiter) acquire() (release func(), err error) {
	if running := l.running.Add(1); l.limit > 0 && running > int64(l.limit) {
		l.release()
		return nil, errTooManyCalls
	}
	return l.release, nil
}

func (l *callLimiter) release() { l.running.Add(-1) }

// streamLimiter limits the number of open streams, both of all clients together and of each IP
// address.
type streamLimiter struct {
	all, perAddress int

	mu    sync.Mutex
	total int
	open  map[string]int
}

// acquire counts a stream of the client with the given network address, such as "192.0.2.1:40000".
func (l *streamLimiter) acquire(client string) (release func(), err error) {
	address := hostOf(client)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all > 0 && l.total >= l.all || l.perAddress > 0 && l.open[address] >= l.perAddress {
		return nil, errTooManyStreams
	}
	l.total++
	l.open[address]++
	return func() { l.release(address) }, nil
}

func (l *streamLimiter) release(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.open[address]--; l.open[address] <= 0 {
		delete(l.open, address)
	}
}

// hostOf returns a network address without its port.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}
