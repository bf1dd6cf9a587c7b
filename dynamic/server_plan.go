package dynamic

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// serverPlan holds everything that a registration needs to serve one method. It is immutable,
// except for the recorder. If the method has topics, their endpoints share the serverPlan.
type serverPlan struct {
	server       *Server
	registration *Registration
	method       *registry.Method
	handler      *boundHandler
	// recorder records the requests of the method.
	recorder *recorderSlot
}

func newServerPlan(r *Registration, method *registry.Method, handler *boundHandler) *serverPlan {
	return &serverPlan{
		server: r.server, registration: r, method: method, handler: handler, recorder: r.recorders[method.Name()],
	}
}

// reportPanic logs a panic and calls the panic hooks. source says what panicked, for example
// "handler".
func (p *serverPlan) reportPanic(ctx context.Context, source string, value any) {
	p.registration.panics().report(ctx, p.method, source, value)
}

// callAffinity calls an affinity function. If the function panics, callAffinity reports the panic
// and returns a negative affinity, which declines the request. It does the same if the function
// calls runtime.Goexit. recover returns nil in that case, so the variable completed is used to find
// out whether the function has returned.
func (p *serverPlan) callAffinity(ctx context.Context, function func() float32) (affinity float32) {
	completed := false
	defer func() {
		if !completed {
			p.reportPanic(ctx, "affinity function", recover())
			affinity = -1
		}
	}()
	affinity = function()
	completed = true
	return affinity
}
