package serve

import (
	"github.com/dynpsrpc/dynpsrpc/internal/lazyctx"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

// requestBase is what a call and a request to open a stream have in common. Its fields are ordered
// so that it contains no padding, because there is one for each request; see [call].
type requestBase struct {
	endpoint *endpoint
	// token is the value that endpoint.inFlight.Enter returned for this request. It must be passed
	// to Leave when the request has ended.
	token  *lifecycle.Token
	client *clientEntry
	// sentAt is the time at which the client sent the request, according to the client's clock, in
	// nanoseconds since the Unix epoch. It is 0 if the request does not contain the time.
	sentAt int64
	// claim is the entry of the request among the engine's pending claims. It is nil if the server
	// may handle the request without being selected by the client.
	claim *pendingClaim
	// recorder records the request. It is nil if the method has no recorder, or if the end of the
	// request has been recorded.
	recorder *MethodRecorder
	// context is the context passed to the handler of a call. It ends when the request expires,
	// when the client cancels the request, or when the context of the service ends. Its channel and
	// timer are created on demand, because most handlers need neither. Otherwise, a call would take
	// 1.4 times as long and make 20 instead of 9 allocations.
	context lazyctx.Context
	// subscribers is the number of servers in this process that shared one bus subscription when
	// the request arrived. Clients need this number, because the bus counts these servers as one
	// receiver. It is 0 if this server had its own subscription, and for queue methods.
	subscribers uint32
	// maybeExpired reports whether the request either has expired or comes from a client with a
	// slow clock. A client that selects this server is still waiting, so its clock must be slow.
	// See computeDeadline.
	maybeExpired bool
	// skewed reports whether the request has shown that the client's clock is wrong.
	skewed bool
	// granted reports whether the client has selected this server.
	granted bool
	// acceptDecline reports whether the client understands claims that decline a request.
	acceptDecline bool
}

// plan returns the plan of the request's method.
func (r *requestBase) plan() *plan { return r.endpoint.plan }

// countUngranted counts the request as expired if it looked expired when it arrived. It is called
// if the client has not selected this server.
func (r *requestBase) countUngranted() {
	if r.maybeExpired {
		r.endpoint.dropExpired(r.client, 0)
	}
}

// largeFrame is the frame size, in bytes, above which a request or stream copies the parts of a
// frame that it keeps. A part that is not copied keeps the whole frame in memory. Parts of smaller
// frames are not copied, because copying takes time.
const largeFrame = 4 << 10
