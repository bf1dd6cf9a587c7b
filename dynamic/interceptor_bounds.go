package dynamic

import (
	"context"
	"time"
)

func (p *clientPlan) callInfo(r *route) RPCInfo {
	info := newRPCInfo(p.method, r.topic)
	info.conn = p.conn
	return info
}

// Deadline returns when a client's single or multi call ends that is made now with ctx and these options: by their
// timeout, that of the conn, or the deadline of ctx. An interceptor that makes a call several times asks for it once,
// before the first time. For anything else it is the deadline of ctx, or the zero time if there is none.
func (i RPCInfo) Deadline(ctx context.Context, opts ...RequestOption) time.Time {
	if i.conn == nil {
		deadline, _ := ctx.Deadline()
		return deadline
	}
	o := newRequestOptions(opts)
	_, expiry := i.conn.bounds(ctx, time.Now(), &o)
	return expiry
}

// SendBounds tells of a Send that is made now on an open stream: the context with which it ends, when its time is up, and
// how many messages the stream's window holds, 0 without one. Next is what a stream's interceptor was given; for other
// handlers, and before the stream is open, it is what [StreamContext] returns and zero.
func SendBounds(next StreamHandler, opts ...StreamOption) (ctx context.Context, deadline time.Time, window int) {
	stage, ok := next.(streamStage)
	if !ok {
		return context.Background(), time.Time{}, 0
	}
	s := stage.chain.stream.Load()
	if s == nil {
		return StreamContext(next), time.Time{}, 0
	}
	o := newSendOptions(opts, s)
	return o.ctx, time.Now().Add(o.timeout), cap(s.windowSlots)
}
