package dynamic

import "github.com/dynpsrpc/dynpsrpc/registry"

// servedMethod is the plan of one method on a server; immutable.
type servedMethod struct {
	registration *Registration
	method       *registry.Method
	handler      *boundHandler
}

func newServedMethod(r *Registration, method *registry.Method, handler *boundHandler) *servedMethod {
	return &servedMethod{registration: r, method: method, handler: handler}
}

// logPanic logs what no caller sees.
func (m *servedMethod) logPanic(what string, value any) {
	logPanic(m.registration.server.options.logger, m.method, what, value)
}

// guardedAffinity calls an affinity function. If that panics the server does not offer itself.
func (m *servedMethod) guardedAffinity(function func() float32) (affinity float32) {
	returned := false
	defer func() {
		if !returned {
			m.logPanic("affinity function", recover())
			affinity = -1
		}
	}()
	affinity = function()
	returned = true
	return affinity
}
