package serve

import (
	"math"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/shard"
)

// runningRequests holds the requests that have arrived and not ended, by request ID. It includes
// those that wait for the client to select a server, and requests to open a stream. To cancel a
// request, a client sends a cancel frame with the ID. Only dynpsrpc clients do so, so requests with
// IDs of another length than dynpsrpc's are left out.
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
	service *Service
	context *lazyctx.Context
	// unannounced is the call if the server must still announce to the client that it is handling
	// the request. Otherwise, it is nil.
	unannounced *call
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

// cancel cancels the context of a request. It does nothing if service is not handling the request.
// This is the case if the request is unknown, has ended, or is for another service.
func (t *runningRequests) cancel(requestID []byte, service *Service) {
	callID, ok := id.ParseCall(requestID)
	if !ok {
		return
	}
	s := &t[callID.Shard()]
	s.mu.Lock()
	request := s.requests[callID]
	s.mu.Unlock()
	if request.service == service {
		request.context.Cancel()
	}
}

// takeUnannounced calls announce once for each request that the server must announce by the time
// now, which is measured like call.announceAt. It returns the earliest time at which the
// server must announce another request, or noAnnouncement if there is none.
func (t *runningRequests) takeUnannounced(now int64, announce func(c *call)) (next int64) {
	next = noAnnouncement
	for i := range t {
		next = min(next, t[i].takeUnannounced(now, announce))
	}
	return next
}

func (s *runningShard) takeUnannounced(now int64, announce func(c *call)) (next int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next = noAnnouncement
	for callID, request := range s.requests {
		switch c := request.unannounced; {
		case c == nil:
		case c.announceAt > now:
			next = min(next, c.announceAt)
		default:
			announce(c)
			request.unannounced = nil
			s.requests[callID] = request
		}
	}
	return next
}

// noAnnouncement is a time at which no announcement is due.
const noAnnouncement = math.MaxInt64
