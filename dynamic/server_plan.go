package dynamic

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// serverPlan is the plan of one method on a server; immutable.
type serverPlan struct {
	server       *Server
	registration *Registration
	method       *registry.Method
	handler      *boundHandler
}

func newServerPlan(r *Registration, method *registry.Method, handler *boundHandler) *serverPlan {
	return &serverPlan{server: r.server, registration: r, method: method, handler: handler}
}

// reportPanic tells of what no caller sees.
func (m *serverPlan) reportPanic(ctx context.Context, what string, value any) {
	m.registration.panics().report(ctx, m.method, what, value)
}

// callAffinity calls an affinity function. If that panics the server does not offer itself.
func (m *serverPlan) callAffinity(ctx context.Context, function func() float32) (affinity float32) {
	returned := false
	defer func() {
		if !returned {
			m.reportPanic(ctx, "affinity function", recover())
			affinity = -1
		}
	}()
	affinity = function()
	returned = true
	return affinity
}
