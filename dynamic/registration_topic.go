package dynamic

import (
	"context"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// RegisterTopic starts serving a method on a topic. The parts must be in the order of the method's
// topic parameters. When RegisterTopic returns, the bus has confirmed the subscription. Topics of
// subscription methods are not registered; pass the topic to Publish with [WithTopic] instead.
//
// RegisterTopic returns an error
//   - if this registration does not serve the method;
//   - if the method takes no topic or a different number of parts;
//   - if the topic is already registered;
//   - if the registration has been closed or replaced;
//   - if the bus fails.
func (r *Registration) RegisterTopic(method string, parts ...string) error {
	_, err := r.registerUndoable(r.plansOfMethod, method, parts)
	return err
}

// DeregisterTopic stops accepting requests for a method on a topic. Running handlers continue, but
// streams are closed. DeregisterTopic returns an error if the topic is not registered, or if the
// registration has been closed or replaced. If the broker does not answer, DeregisterTopic returns
// an error with code deadline_exceeded after the timeout of the server (see [WithServerTimeout]).
// The topic is then deregistered in the background.
func (r *Registration) DeregisterTopic(method string, parts ...string) error {
	return r.changeTopics(r.plansOfMethod, method, parts, r.deregisterTopics)
}

// RegisterTopicGroup starts serving the methods of a topic group on a topic, except for
// subscriptions. For each method, it does the same as RegisterTopic. If this fails for one method,
// no method is registered on the topic.
func (r *Registration) RegisterTopicGroup(group string, parts ...string) error {
	_, err := r.registerUndoable(r.plansOfGroup, group, parts)
	return err
}

// DeregisterTopicGroup undoes RegisterTopicGroup. It deregisters the topic for every method of the
// group for which the topic is registered. If the topic is not registered for some of the methods,
// DeregisterTopicGroup returns an error that names them.
func (r *Registration) DeregisterTopicGroup(group string, parts ...string) error {
	return r.changeTopics(r.plansOfGroup, group, parts, r.deregisterTopics)
}

// changeTopics looks up the plans of a method or topic group with the function find. It then calls
// change with the plans and the parts. It returns an error if r has been replaced or closed. A
// concurrent Replace waits until changeTopics has returned.
func (r *Registration) changeTopics(
	find func(name string) ([]*serverPlan, error), name string, parts []string,
	change func(plans []*serverPlan, parts []string) error,
) error {
	r.changeMu.RLock()
	defer r.changeMu.RUnlock()
	if err := r.checkReplaceable(); err != nil {
		return err
	}
	plans, err := find(name)
	if err != nil {
		return err
	}
	return change(plans, parts)
}

// plansOfMethod returns the plan of a method. It returns an error if the method takes no topic.
func (r *Registration) plansOfMethod(name string) ([]*serverPlan, error) {
	method, ok := r.service.Method(name)
	switch {
	case !ok:
		return nil, errors.NewErrorf(errors.InvalidArgument, "service %s has no method %s%s",
			r.service.Name(), name, transport.Suggest(name, r.service.Methods(), (*registry.Method).Name))
	case r.plans[name] == nil:
		// Only subscription methods have no plan.
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"method %s is a subscription: nothing to register; pass the topic to Publish with dynamic.WithTopic", method.FullName())
	case !method.Topics():
		return nil, errors.NewErrorf(errors.InvalidArgument, "method %s takes no topic", method.FullName())
	default:
		return []*serverPlan{r.plans[name]}, nil
	}
}

// plansOfGroup returns the plans of the methods of a topic group, except for subscriptions. All
// methods of a group take the same topics.
func (r *Registration) plansOfGroup(group string) ([]*serverPlan, error) {
	methods, ok := r.service.Group(group)
	if !ok {
		groups := strings.Join(r.service.Groups(), ", ")
		if groups == "" {
			groups = "none"
		}
		return nil, errors.NewErrorf(errors.InvalidArgument, "service %s: no topic group %.200q; groups: %s",
			r.service.Name(), group, groups)
	}
	var plans []*serverPlan
	for _, method := range methods {
		if plan := r.plans[method.Name()]; plan != nil {
			plans = append(plans, plan)
		}
	}
	if len(plans) == 0 {
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"service %s: all methods of topic group %q are subscriptions: there is nothing to register, "+
				"give the topic to Publish",
			r.service.Name(), group)
	}
	return plans, nil
}

// registerUndoable registers a topic for the methods whose plans find returns. It returns a
// function that undoes the registration. That function does nothing if r has been replaced or
// closed since.
func (r *Registration) registerUndoable(
	find func(name string) ([]*serverPlan, error), name string, parts []string,
) (undo func(), err error) {
	var undoAll func()
	err = r.changeTopics(find, name, parts, func(plans []*serverPlan, parts []string) (err error) {
		undoAll, err = r.registerTopics(plans, parts)
		return err
	})
	return func() {
		r.changeMu.RLock()
		defer r.changeMu.RUnlock()
		if r.checkReplaceable() == nil {
			undoAll()
		}
	}, err
}

// registerTopics registers a topic for the methods of all plans. It returns a function that undoes
// this. If registerTopics fails for one method, the topic is registered for none of them.
func (r *Registration) registerTopics(plans []*serverPlan, parts []string) (undo func(), err error) {
	var undos []func()
	undo = func() {
		for _, undoOne := range undos {
			undoOne()
		}
	}
	for _, plan := range plans {
		undoOne, err := r.registerTopic(plan, parts)
		if err != nil {
			undo()
			return nil, err
		}
		undos = append(undos, undoOne)
	}
	return undo, nil
}

// registerTopic registers a topic for a method and returns a function that undoes the registration.
// If the topic was inherited from the previous version of the service, it is already being served.
// In that case, registerTopic only clears the field fromPredecessor of the topic's endpoint.
func (r *Registration) registerTopic(plan *serverPlan, parts []string) (undo func(), err error) {
	if err := transport.CheckTopic(plan.method, parts, r.server.options.allowEmptyParts); err != nil {
		return nil, err
	}
	name := r.endpointName(plan.method, parts)
	if e := r.takeInherited(name); e != nil {
		return func() { r.markInherited(e) }, nil
	}
	ctx, cancel := context.WithTimeout(r.ctx, r.server.options.timeout)
	defer cancel()
	undo = func() {
		if drained, ok := r.drainEndpoint(name); ok {
			waitAtMost(r.server.options.timeout, drained)
		}
	}
	e := newEndpoint(plan, parts)
	if err := r.openEndpoint(ctx, e); err != nil {
		return nil, err
	}
	r.announce(wire.PresenceServing, e)
	return undo, nil
}

// takeInherited clears the field fromPredecessor of the endpoint named name and returns the
// endpoint. If there is no such endpoint, or if the field is not set, takeInherited returns nil.
func (r *Registration) takeInherited(name string) *endpoint {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.endpoints[name]
	if e == nil || !e.fromPredecessor {
		return nil
	}
	e.fromPredecessor = false
	return e
}

// markInherited undoes takeInherited: it sets the field fromPredecessor of an endpoint again.
func (r *Registration) markInherited(e *endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.fromPredecessor = true
}

// deregisterTopics deregisters a topic for the methods of all plans. If that fails for one method,
// the topic is still deregistered for the others.
func (r *Registration) deregisterTopics(plans []*serverPlan, parts []string) error {
	if len(plans) == 1 {
		return r.deregisterTopic(plans[0], parts)
	}
	var problems []error
	for _, plan := range plans {
		problems = append(problems, r.deregisterTopic(plan, parts))
	}
	return errors.Join(problems...)
}

// deregisterTopic deregisters a topic for a method. It waits until the bus delivers no more
// requests, but no longer than the timeout of the server.
func (r *Registration) deregisterTopic(plan *serverPlan, parts []string) error {
	if err := transport.CheckTopic(plan.method, parts, r.server.options.allowEmptyParts); err != nil {
		return err
	}
	drained, ok := r.drainEndpoint(r.endpointName(plan.method, parts))
	switch {
	case !ok:
		return errors.NewErrorf(errors.NotFound, "method %s: topic %.200q is not registered", plan.method.FullName(), parts)
	case !waitAtMost(r.server.options.timeout, drained):
		return errors.NewErrorf(errors.DeadlineExceeded,
			"method %s: topic %.200q: the bus still delivers requests", plan.method.FullName(), parts)
	}
	return nil
}
