package fleet

import (
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// scopes contains the topics of the control service that a server has registered.
type scopes struct {
	registration *dynamic.Registration
	// registered has a key for each topic: the name of the method and the topic.
	registered map[[2]string]struct{}
}

// update registers the wanted topics and deregisters all others.
func (s *scopes) update(wanted map[[2]string]struct{}) error {
	if s.registered == nil {
		s.registered = map[[2]string]struct{}{}
	}
	var problems []error
	for topic := range wanted {
		if _, done := s.registered[topic]; done {
			continue
		}
		if err := s.registration.RegisterTopic(topic[0], topic[1]); err != nil {
			problems = append(problems, err)
			continue
		}
		s.registered[topic] = struct{}{}
	}
	for topic := range s.registered {
		if _, keep := wanted[topic]; keep {
			continue
		}
		delete(s.registered, topic)
		if err := s.registration.DeregisterTopic(topic[0], topic[1]); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}
