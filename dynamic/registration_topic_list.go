package dynamic

import (
	"slices"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// TopicRegistration names a topic of a method or of a topic group. [RegisterTopics] takes a list of
// them.
type TopicRegistration struct {
	// Registration is the registration of the service.
	Registration *Registration
	// Method is the name of a method, and Group is the name of a topic group. Exactly one of them
	// must be set. A method is registered on the topic as if [Registration.RegisterTopic] were
	// called, and a topic group as if [Registration.RegisterTopicGroup] were called.
	Method, Group string
	// Topic holds the parts of the topic.
	Topic []string
}

// RegisterTopics registers several topics, one after the other. They may belong to different
// methods, services and servers. If one of them cannot be registered, RegisterTopics deregisters
// those that it has registered, and returns the error. Topics that were registered before the call
// stay registered.
func RegisterTopics(topics ...TopicRegistration) error {
	var undos []func()
	for _, topic := range topics {
		undo, err := topic.register()
		if err != nil {
			for _, undo := range slices.Backward(undos) {
				undo()
			}
			return err
		}
		undos = append(undos, undo)
	}
	return nil
}

// DeregisterTopics deregisters several topics, beginning with the last one. It tries all of them and
// returns the errors joined.
func DeregisterTopics(topics ...TopicRegistration) error {
	var problems []error
	for _, topic := range slices.Backward(topics) {
		problems = append(problems, topic.deregister())
	}
	return errors.Join(problems...)
}

// register registers the topic and returns a function that undoes this.
func (t *TopicRegistration) register() (undo func(), err error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	if t.Group != "" {
		return t.Registration.engine.RegisterTopicGroup(t.Group, t.Topic)
	}
	return t.Registration.engine.RegisterTopic(t.Method, t.Topic)
}

func (t *TopicRegistration) deregister() error {
	if err := t.check(); err != nil {
		return err
	}
	if t.Group != "" {
		return t.Registration.DeregisterTopicGroup(t.Group, t.Topic...)
	}
	return t.Registration.DeregisterTopic(t.Method, t.Topic...)
}

func (t *TopicRegistration) check() error {
	switch {
	case t.Registration == nil:
		return errors.NewErrorf(errors.InvalidArgument, "topic %.200q: the registration is nil", t.Topic)
	case (t.Method == "") == (t.Group == ""):
		return errors.NewErrorf(errors.InvalidArgument,
			"topic %.200q of service %s: set either Method or Group", t.Topic, t.Registration.service.Name())
	default:
		return nil
	}
}
