package fleet

import "sync"

// listeners are the channels that [Status.NotifyServices] has returned.
type listeners struct {
	mu     sync.Mutex
	closed bool
	// channels contains the channels for which stop has not been called.
	channels map[chan struct{}]struct{}
}

// add adds a listener and returns its channel, which is already closed if l is closed. stop removes
// the listener.
func (l *listeners) add() (changed <-chan struct{}, stop func()) {
	channel := make(chan struct{}, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		close(channel)
		return channel, func() {}
	}
	if l.channels == nil {
		l.channels = map[chan struct{}]struct{}{}
	}
	l.channels[channel] = struct{}{}
	return channel, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.channels, channel)
	}
}

// notify signals to all listeners that services have changed. It never blocks.
func (l *listeners) notify() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for channel := range l.channels {
		select {
		case channel <- struct{}{}:
		default:
		}
	}
}

// close closes the channels of all listeners.
func (l *listeners) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for channel := range l.channels {
		close(channel)
	}
	l.channels = nil
}
