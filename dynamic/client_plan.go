package dynamic

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// clientPlan holds everything about one method on a conn that does not change between calls. Types
// and channels are looked up only once, when the plan is created. A clientPlan is immutable.
type clientPlan struct {
	conn   *Conn
	method *registry.Method
	// defaultRoute is the route for calls without a topic. It is nil if the method has topics.
	defaultRoute *route
	// presence keeps track of the servers of the service. It is nil if clients of the method need
	// not know how many answers to expect.
	presence *connPresence
	// members keeps track of the servers, so that requests can be sent to single servers. It is nil
	// if clients of the method never do this.
	members   *connPresence
	requests  message.Type
	responses message.Type
	// cancels records whether the broker has refused to publish cancellations for the service.
	cancels *cancelReport
}

// newClientPlan returns a plan for the method. It first waits until the conn has subscribed to the
// replies of the method's service. It may also send a discovery request, so that the conn knows the
// servers before the first call.
func newClientPlan[Req, Resp proto.Message](ctx context.Context, c *Conn, method *registry.Method) (*clientPlan, error) {
	requests, err := message.Resolve[Req](method.Service(), method.Input())
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "client of %s: request type: %w", method.FullName(), err)
	}
	responses, err := message.Resolve[Resp](method.Service(), method.Output())
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "client of %s: response type: %w", method.FullName(), err)
	}
	replies, err := c.subscribeReplies(ctx, method.Service())
	if err != nil {
		return nil, errors.NewErrorf(errors.FromContext(err).Code(),
			"client of %s: cannot subscribe to responses: %w", method.FullName(), err)
	}
	p := &clientPlan{conn: c, method: method, requests: requests, responses: responses, cancels: &replies.cancels}
	if c.traits.AwaitsAll(method) {
		p.presence = replies.presence
	}
	if c.traits.Unicasts(method) || c.traits.OffersCandidates(method) {
		p.members = replies.presence
	}
	if !method.Topics() {
		if p.defaultRoute, err = p.newRoute(nil); err != nil {
			return nil, err
		}
		switch {
		case p.presence != nil:
			p.presence.ask(p.defaultRoute)
		case method.Queue() && p.members != nil:
			p.defaultRoute.unicast.ask()
		}
	}
	return p, nil
}

var (
	kindNouns = map[registry.Kind]string{
		registry.KindSingle: "single call", registry.KindMulti: "multi call",
		registry.KindStream: "stream", registry.KindSubscription: "subscription",
	}
	kindVerbs = map[registry.Kind]string{
		registry.KindSingle: "Call or Invoke", registry.KindMulti: "CallMulti or InvokeMulti",
		registry.KindStream: "OpenStream or InvokeStream", registry.KindSubscription: "Subscribe or InvokeSubscribe",
	}
)

// check returns an error if ctx is nil, or if the kind of the method is not kind. In the latter
// case, the error names the functions that fit the method.
func (p *clientPlan) check(ctx context.Context, kind registry.Kind) error {
	if ctx == nil {
		return nilContextError(p.method.FullName())
	}
	if actual := p.method.Kind(); actual != kind {
		return errors.NewErrorf(errors.InvalidArgument, "method %s is a %s, not a %s: use %s",
			p.method.FullName(), kindNouns[actual], kindNouns[kind], kindVerbs[actual])
	}
	return nil
}

// nilContextError returns the error for a call with a nil context. method is the full name of the
// called method.
func nilContextError(method string) error {
	return errors.NewErrorf(errors.InvalidArgument, "method %s: the context is nil", method)
}

// decodeUpdate decodes the frame of an update and returns its message and metadata. size is the
// size of the encoded message after decompression, in bytes. decodeUpdate returns an error if the
// frame is malformed or contains a message of another type.
func (p *clientPlan) decodeUpdate(frame []byte) (message proto.Message, metadata map[string]string, size int, err error) {
	envelope, err := wire.ParseEnvelope(frame)
	if err != nil {
		return nil, nil, 0, err
	}
	if string(envelope.TypeName) != string(p.responses.Name) {
		return nil, nil, 0, errWrongUpdate
	}
	value, err := transport.Decompress(envelope.Value, p.conn.options.decompression())
	if err != nil {
		return nil, nil, 0, err
	}
	message, err = p.responses.Decode(value)
	return message, envelope.Metadata, len(value), err
}

// errWrongUpdate is the error for an update whose message has another type than the method's
// responses.
var errWrongUpdate = errors.New("the update contains a message of another type")
