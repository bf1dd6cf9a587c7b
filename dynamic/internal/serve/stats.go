package serve

import "github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"

// Stats counts the frames that an engine has dropped since it was created, by reason, and the
// stream messages that wait to be read. Its fields are those of dynamic.ServerStats, so that one
// type can be converted to the other.
type Stats struct {
	BadFrames  uint64
	Expired    uint64
	Duplicated uint64
	Unmatched  uint64
	Overflowed uint64
	Waiting    uint64
	Unsent     uint64
	Evicted    uint64
	Refused    uint64
}

// Stats returns the current counters.
func (e *Engine) Stats() Stats {
	return Stats{
		BadFrames:  e.drops.Count(transport.DropBadFrame),
		Expired:    e.drops.Count(transport.DropExpired),
		Duplicated: e.drops.Count(transport.DropDuplicated),
		Unsent:     e.drops.Count(transport.DropUnsent),
		Evicted:    e.drops.Count(transport.DropEvicted),
		Refused:    e.drops.Count(transport.DropRefused),
		Unmatched:  e.drops.Count(transport.DropUnmatched),
		Overflowed: e.drops.Count(transport.DropOverflowed),
		Waiting:    e.waiting(),
	}
}

// waiting returns the number of stream messages of all services that are buffered and have not been
// read.
func (e *Engine) waiting() (messages uint64) {
	e.mu.Lock()
	services := e.servicesLocked()
	e.mu.Unlock()
	for _, s := range services {
		for _, e := range s.currentEndpoints() {
			messages += e.waiting()
		}
	}
	return messages
}
