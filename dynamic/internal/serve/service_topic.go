package serve

import (
	"context"
	"iter"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// RegisterTopic starts serving a method on a topic. It returns a function that undoes this, unless
// s has been replaced or closed since.
func (s *Service) RegisterTopic(method string, parts []string) (undo func(), err error) {
	return s.registerUndoable(s.plansOfMethod, method, parts)
}

// DeregisterTopic stops accepting requests for a method on a topic. Running handlers continue, but
// streams are closed. If the broker does not answer, DeregisterTopic returns an error with code
// deadline_exceeded after the timeout of the engine. The topic is then deregistered in the
// background.
func (s *Service) DeregisterTopic(method string, parts []string) error {
	return s.changeTopics(s.plansOfMethod, method, parts, s.deregisterTopics)
}

// RegisterTopicGroup is like RegisterTopic for all methods of a topic group, except for
// subscriptions. If it fails for one method, no method is registered on the topic.
func (s *Service) RegisterTopicGroup(group string, parts []string) (undo func(), err error) {
	return s.registerUndoable(s.plansOfGroup, group, parts)
}

// DeregisterTopicGroup deregisters a topic for all methods of a group for which the topic is
// registered. The error names the methods for which the topic was not registered.
func (s *Service) DeregisterTopicGroup(group string, parts []string) error {
	return s.changeTopics(s.plansOfGroup, group, parts, s.deregisterTopics)
}

// Topics returns the topics that are currently registered, with their methods, in no particular
// order. The caller must not modify the topics.
func (s *Service) Topics() iter.Seq2[*registry.Method, []string] {
	return func(yield func(method *registry.Method, topic []string) bool) {
		for _, e := range s.currentEndpoints() {
			if len(e.topic) > 0 && !yield(e.plan.method, e.topic) {
				return
			}
		}
	}
}

// changeTopics looks up the plans of a method or topic group with the function find. It then passes
// the plans and the parts to the function change. It returns an error if s has been replaced or
// closed. A concurrent Replace waits until changeTopics has returned.
func (s *Service) changeTopics(
	find func(name string) ([]*plan, error), name string, parts []string,
	change func(plans []*plan, parts []string) error,
) error {
	s.changeMu.RLock()
	defer s.changeMu.RUnlock()
	if err := s.checkReplaceable(); err != nil {
		return err
	}
	plans, err := find(name)
	if err != nil {
		return err
	}
	return change(plans, parts)
}

// plansOfMethod returns a slice that holds the plan of a method. It returns an error if there is no
// such method, or if the method takes no topic or is a subscription.
func (s *Service) plansOfMethod(name string) ([]*plan, error) {
	method, ok := s.Descriptor.Method(name)
	switch {
	case !ok:
		return nil, errors.NewErrorf(errors.InvalidArgument, "service %s has no method %s%s",
			s.Descriptor.Name(), name, transport.Suggest(name, s.Descriptor.Methods(), (*registry.Method).Name))
	case s.plans[name] == nil:
		// Only subscription methods have no plan.
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"method %s is a subscription: nothing to register; pass the topic to Publish with dynamic.WithTopic", method.FullName())
	case !method.Topics():
		return nil, errors.NewErrorf(errors.InvalidArgument, "method %s takes no topic", method.FullName())
	default:
		return []*plan{s.plans[name]}, nil
	}
}

// plansOfGroup returns the plans of the methods of a topic group, except for subscriptions. All
// methods of a group take the same topics.
func (s *Service) plansOfGroup(group string) ([]*plan, error) {
	methods, ok := s.Descriptor.Group(group)
	if !ok {
		groups := strings.Join(s.Descriptor.Groups(), ", ")
		if groups == "" {
			groups = "none"
		}
		return nil, errors.NewErrorf(errors.InvalidArgument, "service %s: no topic group %.200q; groups: %s",
			s.Descriptor.Name(), group, groups)
	}
	var plans []*plan
	for _, method := range methods {
		if plan := s.plans[method.Name()]; plan != nil {
			plans = append(plans, plan)
		}
	}
	if len(plans) == 0 {
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"service %s: all methods of topic group %q are subscriptions: there is nothing to register, "+
				"give the topic to Publish",
			s.Descriptor.Name(), group)
	}
	return plans, nil
}

// registerUndoable registers a topic for the methods whose plans the function find returns. It
// returns a function that undoes this, unless s has been replaced or closed since.
func (s *Service) registerUndoable(
	find func(name string) ([]*plan, error), name string, parts []string,
) (undo func(), err error) {
	var undoAll func()
	err = s.changeTopics(find, name, parts, func(plans []*plan, parts []string) (err error) {
		undoAll, err = s.registerTopics(plans, parts)
		return err
	})
	return func() {
		s.changeMu.RLock()
		defer s.changeMu.RUnlock()
		if s.checkReplaceable() == nil {
			undoAll()
		}
	}, err
}

// registerTopics registers a topic for the methods of all plans. It returns a function that undoes
// this. If registerTopics fails for one method, the topic is registered for none of them.
func (s *Service) registerTopics(plans []*plan, parts []string) (undo func(), err error) {
	var undos []func()
	undo = func() {
		for _, undoOne := range undos {
			undoOne()
		}
	}
	for _, plan := range plans {
		undoOne, err := s.registerTopic(plan, parts)
		if err != nil {
			undo()
			return nil, err
		}
		undos = append(undos, undoOne)
	}
	return undo, nil
}

// registerTopic registers a topic for a method and returns a function that undoes this. If the
// topic was inherited from the previous version of the service, it is already being served. In that
// case, registerTopic only clears the field fromPredecessor of the topic's endpoint.
func (s *Service) registerTopic(plan *plan, parts []string) (undo func(), err error) {
	if err := transport.CheckTopic(plan.method, parts, s.engine.AllowEmptyParts); err != nil {
		return nil, err
	}
	name := s.endpointName(plan.method, parts)
	if e := s.takeInherited(name); e != nil {
		return func() { s.markInherited(e) }, nil
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.engine.Timeout)
	defer cancel()
	undo = func() {
		if drained, ok := s.drainEndpoint(name); ok {
			lifecycle.WaitAtMost(s.engine.Timeout, drained)
		}
	}
	e := newEndpoint(plan, parts)
	if err := s.openEndpoint(ctx, e); err != nil {
		return nil, err
	}
	s.announce(wire.PresenceServing, e)
	return undo, nil
}

// takeInherited clears the field fromPredecessor of the endpoint named name and returns the
// endpoint. If there is no such endpoint, or if the field is not set, takeInherited returns nil.
func (s *Service) takeInherited(name string) *endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.endpoints[name]
	if e == nil || !e.fromPredecessor {
		return nil
	}
	e.fromPredecessor = false
	return e
}

// markInherited undoes takeInherited: it sets the field fromPredecessor of an endpoint again.
func (s *Service) markInherited(e *endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.fromPredecessor = true
}

// deregisterTopics deregisters a topic for the methods of all plans. If that fails for one method,
// the topic is still deregistered for the others.
func (s *Service) deregisterTopics(plans []*plan, parts []string) error {
	if len(plans) == 1 {
		return s.deregisterTopic(plans[0], parts)
	}
	var problems []error
	for _, plan := range plans {
		problems = append(problems, s.deregisterTopic(plan, parts))
	}
	return errors.Join(problems...)
}

// deregisterTopic deregisters a topic for a method. It waits until the bus delivers no more
// requests, but no longer than the timeout of the server.
func (s *Service) deregisterTopic(plan *plan, parts []string) error {
	if err := transport.CheckTopic(plan.method, parts, s.engine.AllowEmptyParts); err != nil {
		return err
	}
	drained, ok := s.drainEndpoint(s.endpointName(plan.method, parts))
	switch {
	case !ok:
		return errors.NewErrorf(errors.NotFound, "method %s: topic %.200q is not registered", plan.method.FullName(), parts)
	case !lifecycle.WaitAtMost(s.engine.Timeout, drained):
		return errors.NewErrorf(errors.DeadlineExceeded,
			"method %s: topic %.200q: the bus still delivers requests", plan.method.FullName(), parts)
	}
	return nil
}
