package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/lifecycle"
)

// DeliveryHandler takes one update that has come for a subscription. In the end it is the subscription's buffer.
type DeliveryHandler func(ctx context.Context, update proto.Message) error

// SubscriptionInterceptor makes the handler of a subscription's updates, when that is made. The handler calls the next
// one, once, several times, or not at all, and may put another update or context in place of what it got. An update must
// be of the method's type; its Go type does not matter. One that is not passed on is dropped; with an error it is also
// counted, see [SubscriptionStats].
//
// Updates are handled one at a time, on a goroutine of the subscription; those that come meanwhile wait, as many as
// [WithBufferSize] says, and see [WithOverflow]. Next may be called from any goroutine. ctx is that of the subscription,
// with the update's metadata, see [IncomingFromContext]. The subscription's Close waits for the handler, which therefore
// must not call it. A panic ends the subscription with the code
// internal, and is logged.
type SubscriptionInterceptor func(info RPCInfo, next DeliveryHandler) DeliveryHandler

// interception is the part of a subscription that has interceptors: what comes from the bus waits in a queue for a
// goroutine, the pump, that brings it through them.
type interception[Resp proto.Message] struct {
	subscription *subscription[Resp]
	handler      DeliveryHandler
	queue        chan incomingUpdate[Resp]
	context      context.Context //nolint:containedctx // the life of the subscription
	cancel       context.CancelFunc
	pumped       chan struct{}   // closed when the pump has ended
	taking       *lifecycle.Gate // inside: updates on their way into the buffer
}

// incomingUpdate is an update on its way through interceptors.
type incomingUpdate[Resp proto.Message] struct {
	message  Resp
	metadata map[string]string
}

// describe returns what an interceptor can ask for.
func (u incomingUpdate[Resp]) describe() Incoming { return Incoming{Metadata: u.metadata} }

// intercept starts the pump, if there are interceptors.
func (s *subscription[Resp]) intercept(ctx context.Context, topic []string) error {
	conn := s.method.conn
	if len(conn.options.interceptors.subscription) == 0 {
		return nil
	}
	i := &interception[Resp]{
		subscription: s, queue: make(chan incomingUpdate[Resp], cap(s.messages)),
		pumped: make(chan struct{}), taking: lifecycle.NewGate(),
	}
	handler, err := chain(conn.options.interceptors.subscription, newRPCInfo(s.method.method, topic), i.take)
	if err != nil {
		return err
	}
	i.handler = handler
	i.context, i.cancel = context.WithCancel(ctx)
	if err := conn.start(i.pump); err != nil { // Conn.Close and the end of the subscription wait for it
		i.cancel()
		return err
	}
	s.interception = i
	return nil
}

// take puts what comes out of the interceptors into the buffer.
func (i *interception[Resp]) take(_ context.Context, update proto.Message) error {
	s := i.subscription
	if !i.taking.Enter() {
		return errors.NewErrorf(errors.Canceled, "the subscription to %s has ended", s.method.method.FullName())
	}
	defer i.taking.Leave()
	update, err := s.method.responses.adopt(update)
	if err != nil {
		return misfit("update", s.method.method, err)
	}
	if offer(s, s.messages, update.(Resp)) {
		s.received.Add(1)
	}
	return nil
}

// pump brings updates through the interceptors until the subscription or the conn ends.
func (i *interception[Resp]) pump() {
	defer close(i.pumped)
	s := i.subscription
	for i.context.Err() == nil {
		select {
		case <-i.context.Done():
		case <-s.method.conn.life.Done():
			return
		case update := <-i.queue:
			ctx := context.WithValue(i.context, incomingKey{}, update)
			panicked := s.method.conn.panics().guard(ctx, s.method.method, func() error {
				if err := i.handler(ctx, update.message); err != nil {
					s.refused.Add(1)
				}
				return nil
			})
			if panicked != nil {
				s.endLater(panicked)
				return
			}
		}
	}
}

// end returns when nothing more gets into the buffer.
func (i *interception[Resp]) end() {
	if i != nil {
		i.cancel()
		<-i.pumped
		<-i.taking.Close()
	}
}

// endLater ends the subscription from a goroutine for which its end waits.
func (s *subscription[Resp]) endLater(err error) {
	_ = s.method.conn.start(func() { s.end(err) }) // a conn that closes does it, too
}
