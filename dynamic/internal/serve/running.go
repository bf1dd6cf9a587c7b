package serve

import (
	"context"
	"math"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

// runningRequests holds the requests that have arrived and have not ended, keyed by request ID. It
// includes requests that wait for the client to select a server, and requests to open a stream. To
// cancel a request, a client sends a cancel frame with the ID. Only dynpsrpc clients do this, so
// only requests whose IDs have the length of dynpsrpc's IDs are included.
//
// The ID determines the shard of a request. With a single lock, goroutines that handle requests at
// the same time would wait for each other.
type runningRequests [shard.Count]runningShard

// runningShard is one shard of runningRequests. It is padded so that no two shards share a cache
// line.
type runningShard struct {
	mu       sync.Mutex
	requests map[id.Call]runningRequest
	_        [shard.CacheLineSize]byte
}

// runningRequest is a request in runningRequests.
type runningRequest struct {
	context *lazyctx.Context
	// announceAt is the time at which the server announces to the client that it is handling the
	// request, in nanoseconds from the epoch of the announcer. It is 0 if the client expects no
	// announcement, or no further one. announcement is the task that sends it.
	announceAt   int64
	announcement task
}

// add adds a request. If requestID does not have the length of dynpsrpc's IDs, add does nothing.
func (t *runningRequests) add(requestID []byte, request runningRequest) {
	callID, ok := id.ParseCall(requestID)
	if !ok {
		return
	}
	s := &t[callID.Shard()]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requests == nil {
		s.requests = map[id.Call]runningRequest{}
	}
	s.requests[callID] = request
}

// remove undoes add. It removes the entry only if its context is ctx, so that a later request with
// the same ID is not affected.
func (t *runningRequests) remove(requestID []byte, ctx *lazyctx.Context) {
	callID, ok := id.ParseCall(requestID)
	if !ok {
		return
	}
	s := &t[callID.Shard()]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requests[callID].context == ctx {
		delete(s.requests, callID)
	}
}

// cancel cancels the context of a request. It does nothing if parent, the context of a service, is
// not the parent of that context. This is the case if the request is unknown, has ended, or is for
// another service.
func (t *runningRequests) cancel(requestID []byte, parent context.Context) {
	callID, ok := id.ParseCall(requestID)
	if !ok {
		return
	}
	s := &t[callID.Shard()]
	s.mu.Lock()
	request := s.requests[callID]
	s.mu.Unlock()
	if request.context != nil && request.context.Parent == parent {
		request.context.Cancel()
	}
}

// takeUnannounced calls the function announce once for each request that the server must announce
// by the time now. The argument now is measured like runningRequest.announceAt. takeUnannounced
// returns the earliest time at which the server must announce another request, or noAnnouncement if
// there is none.
func (t *runningRequests) takeUnannounced(now int64, announce func(announcement task)) (next int64) {
	next = noAnnouncement
	for i := range t {
		next = min(next, t[i].takeUnannounced(now, announce))
	}
	return next
}

func (s *runningShard) takeUnannounced(now int64, announce func(announcement task)) (next int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next = noAnnouncement
	for callID, request := range s.requests {
		switch {
		case request.announceAt == 0:
		case request.announceAt > now:
			next = min(next, request.announceAt)
		default:
			announce(request.announcement)
			request.announceAt, request.announcement = 0, nil
			s.requests[callID] = request
		}
	}
	return next
}

// noAnnouncement is a time at which no announcement is due.
const noAnnouncement = math.MaxInt64

// task is a unit of work for the server's worker pool, for example a request that the server
// handles.
type task interface{ serve() }
