package dynamic

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// endpointName is the key of a method's listener on a topic. Topics are different if they are so on the bus.
func (r *Registration) endpointName(method *registry.Method, parts []string) string {
	return wire.RequestChannel(r.service.WireName(), method.WireName(), parts, method.Queue()).Name
}

// changeTopics makes a change, but not while the registration is replaced, and not after its end.
func (r *Registration) changeTopics(change func() error) error {
	r.changeMu.RLock()
	defer r.changeMu.RUnlock()
	if err := r.checkReplaceable(); err != nil {
		return err
	}
	return change()
}

// RegisterTopic makes a method reachable on a topic, whose parts are in the order of the method's topic
// parameters. When it returns, the bus has confirmed that. It fails if the method is not served here, if it takes
// no topic or another number of parts, if the topic is registered already, if the bus fails, or if the registration was
// closed or replaced.
func (r *Registration) RegisterTopic(method string, parts ...string) error {
	return r.changeTopics(func() error {
		_, err := r.registerTopic(method, parts)
		return err
	})
}

// registerTopic returns what undoes it.
func (r *Registration) registerTopic(method string, parts []string) (undo func(), err error) {
	served, err := r.topicMethod(method, parts)
	if err != nil {
		return nil, err
	}
	name := r.endpointName(served.method, parts)
	if e := r.takeInherited(name); e != nil {
		return func() { r.markInherited(e) }, nil
	}
	ctx, cancel := context.WithTimeout(r.ctx, r.server.options.timeout)
	defer cancel()
	return func() { r.drainEndpoint(name) }, r.openEndpoint(ctx, newEndpoint(served, parts))
}

// takeInherited returns the inherited listener of that name, which then is inherited no more, or nil if there is none.
func (r *Registration) takeInherited(name string) *endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.endpoints[name]
	if e == nil || !e.inherited {
		return nil
	}
	e.inherited = false
	return e
}

// markInherited undoes adopt.
func (r *Registration) markInherited(e *endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.inherited = true
}

// DeregisterTopic takes no more requests for a method on a topic. Handlers that are running go on, streams are
// closed. It fails if the topic is not registered, or if the registration was closed or replaced.
func (r *Registration) DeregisterTopic(method string, parts ...string) error {
	return r.changeTopics(func() error { return r.deregisterTopic(method, parts) })
}

func (r *Registration) deregisterTopic(method string, parts []string) error {
	served, err := r.topicMethod(method, parts)
	if err != nil {
		return err
	}
	if !r.drainEndpoint(r.endpointName(served.method, parts)) {
		return errors.NewErrorf(errors.NotFound, "method %s: topic %q is not registered", served.method.FullName(), parts)
	}
	return nil
}

// RegisterTopicGroup makes every served method of a topic group reachable on a topic, or, if that fails for one of
// them, changes nothing.
func (r *Registration) RegisterTopicGroup(group string, parts ...string) error {
	return r.changeTopics(func() error { return r.registerTopicGroup(group, parts) })
}

func (r *Registration) registerTopicGroup(group string, parts []string) error {
	methods, err := r.groupMethods(group)
	if err != nil {
		return err
	}
	var undo []func()
	for _, method := range methods {
		undoOne, err := r.registerTopic(method.Name(), parts)
		if err != nil {
			for _, undoOne := range undo {
				undoOne()
			}
			return err
		}
		undo = append(undo, undoOne)
	}
	return nil
}

// DeregisterTopicGroup undoes RegisterTopicGroup. It reports the methods for which the topic was not registered,
// and deregisters the others all the same.
func (r *Registration) DeregisterTopicGroup(group string, parts ...string) error {
	return r.changeTopics(func() error { return r.deregisterTopicGroup(group, parts) })
}

func (r *Registration) deregisterTopicGroup(group string, parts []string) error {
	methods, err := r.groupMethods(group)
	if err != nil {
		return err
	}
	var problems []error
	for _, method := range methods {
		problems = append(problems, r.deregisterTopic(method.Name(), parts))
	}
	return errors.Join(problems...)
}

// groupMethods returns the methods of a group that are served.
func (r *Registration) groupMethods(group string) ([]*registry.Method, error) {
	methods, ok := r.service.Group(group)
	if !ok {
		return nil, errors.NewErrorf(errors.InvalidArgument, "service %s has no topic group %q, but %q",
			r.service.Name(), group, r.service.Groups())
	}
	var served []*registry.Method
	for _, method := range methods {
		if _, ok := r.plans[method.Name()]; ok {
			served = append(served, method)
		}
	}
	if len(served) == 0 {
		return nil, errors.NewErrorf(errors.InvalidArgument, "service %s: no method of topic group %q is served here",
			r.service.Name(), group)
	}
	return served, nil
}

func (r *Registration) topicMethod(name string, parts []string) (*serverPlan, error) {
	served, ok := r.plans[name]
	if !ok {
		return nil, errors.NewErrorf(errors.InvalidArgument, "service %s has no method %s that is served here%s",
			r.service.Name(), name, transport.Suggest(name, r.service.Methods(), (*registry.Method).Name))
	}
	if !served.method.Topics() {
		return nil, errors.NewErrorf(errors.InvalidArgument, "method %s takes no topic", served.method.FullName())
	}
	return served, transport.CheckTopic(served.method, parts)
}
