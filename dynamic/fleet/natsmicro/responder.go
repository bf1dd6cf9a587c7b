package natsmicro

import (
	"context"
	"encoding/json"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// maxQuestions is the maximum number of questions that wait for an answer. Further ones are
// dropped.
const maxQuestions = 256

// verbs are the questions that a micro service answers.
var verbs = []string{micro.PingVerb.String(), micro.InfoVerb.String(), micro.StatsVerb.String()}

// Responder answers the questions of the tools for NATS micro services about one server. Create one
// with [Serve]. All methods are safe for concurrent use.
type Responder struct {
	nc     *nats.Conn
	status *fleet.Status
	// questions receives the messages of all subscriptions.
	questions chan *nats.Msg
	closing   chan struct{}
	closeOnce sync.Once
	// closed is closed when the goroutine of the responder has ended.
	closed chan struct{}
	// unwatch ends the notifications about services of the server.
	unwatch func()

	mu sync.Mutex
	// subscriptions holds the subscriptions for each service, keyed by its name in NATS micro.
	// Those for questions to all services have an empty key.
	subscriptions map[string][]*nats.Subscription
}

// Serve makes the services of a server visible to the tools for NATS micro services. Services that
// are registered or closed later are added and removed. Serve subscribes to three subjects, and to
// six more for each service. It returns once the NATS server has confirmed the subscriptions.
//
// The responder ends when Close is called. If the status or the connection is closed earlier, the
// responder answers no more questions, but must still be closed.
func Serve(nc *nats.Conn, status *fleet.Status) (*Responder, error) {
	if nc == nil || status == nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "natsmicro.Serve: the connection or the status is nil")
	}
	r := &Responder{
		nc: nc, status: status, questions: make(chan *nats.Msg, maxQuestions),
		closing: make(chan struct{}), closed: make(chan struct{}), subscriptions: map[string][]*nats.Subscription{},
	}
	changed, unwatch := status.NotifyServices()
	r.unwatch = unwatch
	err := r.subscribe("", "")
	if err == nil {
		err = r.update()
	}
	if err == nil {
		err = nc.Flush()
	}
	go r.answerAll(changed)
	if err != nil {
		_ = r.Close()
		return nil, errors.NewErrorf(errors.Unavailable, "natsmicro: cannot subscribe: %w", err)
	}
	return r, nil
}

// Close ends all subscriptions. It waits for the question that is being answered; questions that are
// still in the buffer are dropped. It returns nil.
func (r *Responder) Close() error {
	r.closeOnce.Do(func() {
		r.unwatch()
		close(r.closing)
	})
	<-r.closed
	return nil
}

// answerAll answers questions until the responder is closed. changed receives a value when services
// of the server have been added or removed.
func (r *Responder) answerAll(changed <-chan struct{}) {
	defer close(r.closed)
	for {
		select {
		case question := <-r.questions:
			r.answer(question)
		case _, open := <-changed:
			if !open {
				// The server has stopped, so its services do not change any more.
				changed = nil
				r.unsubscribeAll()
				continue
			}
			// An error needs no handling. If the connection is down, nats.go subscribes once it is
			// up again. If it has been closed, no more questions arrive.
			_ = r.update()
		case <-r.closing:
			r.unsubscribeAll()
			return
		}
	}
}

// update subscribes to the questions about new services, and ends the subscriptions for services
// that are gone.
func (r *Responder) update() error {
	server := r.status.Server(context.Background(), fleet.PartServices)
	current := map[string]bool{"": true}
	for _, service := range server.Services {
		name := token(service.WireName)
		if current[name] = true; r.isSubscribed(name) {
			continue
		}
		if err := r.subscribe(name, token(server.ID)); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, subscriptions := range r.subscriptions {
		if !current[name] {
			unsubscribe(subscriptions)
			delete(r.subscriptions, name)
		}
	}
	return nil
}

func (r *Responder) isSubscribed(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.subscriptions[name] != nil
}

// subscribe subscribes to the questions about a service, both to all of its servers and to the one
// with this ID. An empty name stands for the questions to all services.
func (r *Responder) subscribe(name, id string) error {
	var subscriptions []*nats.Subscription
	for _, verb := range verbs {
		subjects := []string{micro.APIPrefix + "." + verb}
		if name != "" {
			subjects = []string{subjects[0] + "." + name, subjects[0] + "." + name + "." + id}
		}
		for _, subject := range subjects {
			subscription, err := r.nc.ChanSubscribe(subject, r.questions)
			if err != nil {
				unsubscribe(subscriptions)
				return err
			}
			subscriptions = append(subscriptions, subscription)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.subscriptions[name] = subscriptions
	return nil
}

func (r *Responder) unsubscribeAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, subscriptions := range r.subscriptions {
		unsubscribe(subscriptions)
	}
	clear(r.subscriptions)
}

func unsubscribe(subscriptions []*nats.Subscription) {
	for _, subscription := range subscriptions {
		// If this fails, the connection is closed, and the subscription has ended already.
		_ = subscription.Unsubscribe()
	}
}

// answer answers one question, with one message for each service that it is about.
func (r *Responder) answer(question *nats.Msg) {
	// A subject is $SRV.VERB, $SRV.VERB.NAME or $SRV.VERB.NAME.ID. The ID need not be checked,
	// because the responder subscribes to no subject with the ID of another server.
	parts := strings.SplitN(question.Subject, ".", 4)
	if len(parts) < 2 || question.Reply == "" {
		return
	}
	name := ""
	if len(parts) > 2 {
		name = parts[2]
	}
	for _, response := range responses(r.status, parts[1], name) {
		encoded, err := json.Marshal(response)
		if err == nil {
			err = question.Respond(encoded)
		}
		if err != nil {
			// The connection is closed, so no answer can be sent.
			return
		}
	}
}
