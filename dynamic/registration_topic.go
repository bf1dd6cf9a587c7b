package dynamic

import (
	"context"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// RegisterTopic makes a method reachable on a topic. The parts are in the order of the method's
// topic parameters. When RegisterTopic returns, the bus has confirmed the subscription. It fails if
// the method is not served here, if it takes no topic or another number of parts, if the topic is
// already registered, if the bus fails, or if the registration was closed or replaced. The topics
// of a subscription method are not registered: [WithTopic] gives the topic to Publish.
func (r *Registration) RegisterTopic(method string, parts ...string) error {
	return r.changeTopics(r.plansOfMethod, method, parts, r.registerTopics)
}

// DeregisterTopic stops accepting requests for a method on a topic. Running handlers continue;
// streams are closed. It fails if the topic is not registered, or if the registration was closed or
// replaced.
func (r *Registration) DeregisterTopic(method string, parts ...string) error {
	return r.changeTopics(r.plansOfMethod, method, parts, r.deregisterTopics)
}

// RegisterTopicGroup makes every served method of a topic group reachable on a topic, as
// RegisterTopic does for one method. If it fails for one of the methods, it changes nothing.
func (r *Registration) RegisterTopicGroup(group string, parts ...string) error {
	return r.changeTopics(r.plansOfGroup, group, parts, r.registerTopics)
}

// DeregisterTopicGroup undoes RegisterTopicGroup. It deregisters the topic for every method for
// which it is registered, and returns an error that names the other methods, if there are any.
func (r *Registration) DeregisterTopicGroup(group string, parts ...string) error {
	return r.changeTopics(r.plansOfGroup, group, parts, r.deregisterTopics)
}

// changeTopics applies change to the methods that find returns for name. It fails if r was replaced
// or closed, and makes a concurrent Replace wait.
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

// plansOfMethod returns the plan of a method that takes a topic.
func (r *Registration) plansOfMethod(name string) ([]*serverPlan, error) {
	method, ok := r.service.Method(name)
	switch {
	case !ok:
		return nil, errors.NewErrorf(errors.InvalidArgument, "service %s has no method %s%s",
			r.service.Name(), name, transport.Suggest(name, r.service.Methods(), (*registry.Method).Name))
	case r.plans[name] == nil: // every other kind of method has a plan
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"method %s is a subscription: there is nothing to register, give the topic to Publish", method.FullName())
	case !method.Topics():
		return nil, errors.NewErrorf(errors.InvalidArgument, "method %s takes no topic", method.FullName())
	default:
		return []*serverPlan{r.plans[name]}, nil
	}
}

// plansOfGroup returns the plans of the methods of a topic group that are served here. All of them
// take the same topics.
func (r *Registration) plansOfGroup(group string) ([]*serverPlan, error) {
	methods, ok := r.service.Group(group)
	if !ok {
		groups := strings.Join(r.service.Groups(), ", ")
		if groups == "" {
			groups = "none"
		}
		return nil, errors.NewErrorf(errors.InvalidArgument, "service %s: no topic group %q; groups: %s",
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

// registerTopics registers a topic for all methods, or for none if it fails for one of them.
func (r *Registration) registerTopics(plans []*serverPlan, parts []string) error {
	var undo []func()
	for _, plan := range plans {
		undoOne, err := r.registerTopic(plan, parts)
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

// registerTopic registers a topic for a method and returns a function that undoes that. A topic
// that is inherited from the previous version of the service is already served, so it only loses
// its mark.
func (r *Registration) registerTopic(plan *serverPlan, parts []string) (undo func(), err error) {
	if err := transport.CheckTopic(plan.method, parts); err != nil {
		return nil, err
	}
	name := r.endpointName(plan.method, parts)
	if e := r.takeInherited(name); e != nil {
		return func() { r.markInherited(e) }, nil
	}
	ctx, cancel := context.WithTimeout(r.ctx, r.server.options.timeout)
	defer cancel()
	return func() { r.drainEndpoint(name) }, r.openEndpoint(ctx, newEndpoint(plan, parts))
}

// takeInherited removes the mark of an inherited endpoint and returns the endpoint. It returns nil
// if the endpoint does not exist or is not inherited.
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

// markInherited undoes takeInherited.
func (r *Registration) markInherited(e *endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.fromPredecessor = true
}

// deregisterTopics deregisters a topic for all methods. An error for one of them does not affect
// the others.
func (r *Registration) deregisterTopics(plans []*serverPlan, parts []string) error {
	var problems []error
	for _, plan := range plans {
		problems = append(problems, r.deregisterTopic(plan, parts))
	}
	return errors.Join(problems...)
}

// deregisterTopic deregisters a topic for a method.
func (r *Registration) deregisterTopic(plan *serverPlan, parts []string) error {
	if err := transport.CheckTopic(plan.method, parts); err != nil {
		return err
	}
	if !r.drainEndpoint(r.endpointName(plan.method, parts)) {
		return errors.NewErrorf(errors.NotFound, "method %s: topic %q is not registered", plan.method.FullName(), parts)
	}
	return nil
}
