package serve

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/internal/semaphore"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// plan holds everything that a service needs to serve one method. It is immutable, except for the
// recorder and the semaphore. If the method has topics, their endpoints share the plan.
type plan struct {
	engine  *Engine
	service *Service
	method  *registry.Method
	// recorder records the requests of the method.
	recorder *recorderSlot
	// semaphore limits how many requests of the method are handled at the same time.
	semaphore semaphore.Semaphore
	handler   Handler
}

func newPlan(s *Service, method *registry.Method, handler *Handler) *plan {
	return &plan{
		engine: s.engine, service: s, method: method, handler: *handler, recorder: s.recorders[method.Name()],
		semaphore: semaphore.Semaphore{Max: int64(handler.MaxConcurrent)},
	}
}

// reportPanic reports a panic to the user. source says what panicked, for example "handler".
func (p *plan) reportPanic(ctx context.Context, source string, value any) {
	p.service.ReportPanic(ctx, p.method, source, value)
}

// callAffinity calls an affinity function. If the function panics, callAffinity reports the panic
// and returns a negative affinity, which declines the request. If the function calls
// runtime.Goexit, callAffinity reports this as a panic too, and the goroutine ends. recover then
// returns nil, so the variable completed shows whether the function has returned.
func (p *plan) callAffinity(ctx context.Context, function func() float32) (affinity float32) {
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

// recordClaim notifies the recorder of the method that the server has claimed or declined a
// request.
func (p *plan) recordClaim(affinity float32) {
	if recorder := p.recorder.Load(); recorder != nil {
		(*recorder).RecordClaim(affinity)
	}
}
