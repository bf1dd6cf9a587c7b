package validation

import (
	"context"
	"strings"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Option configures [New].
type Option func(*validation)

// WithValidator sets the validator. The default is protovalidate.GlobalValidator, which is also
// used if validator is nil.
func WithValidator(validator protovalidate.Validator) Option {
	return func(v *validation) {
		if validator != nil {
			v.validator = validator
		}
	}
}

// New returns an option that validates messages. On a server or service, it validates requests,
// stream messages from clients, and published updates. If a request is invalid, the client receives
// the error as the response. If a stream message is invalid, the stream is closed with the error.
// If an update is invalid, Publish returns the error.
//
// On a conn, it validates requests, stream messages and updates before they are sent, and the
// sender receives the error. It also validates the updates received by subscriptions. Invalid
// updates are dropped and counted as Refused in [dynamic.SubscriptionStats].
func New(opts ...Option) dynamic.Option {
	v := validation{protovalidate.GlobalValidator}
	for _, opt := range opts {
		if opt != nil {
			opt(&v)
		}
	}
	return dynamic.WithInterceptors(dynamic.Interceptors{
		ServerRPC:      v.serve,
		ServerStream:   v.serverStream,
		ServerPublish:  v.publish,
		ClientRPC:      v.call,
		ClientMultiRPC: v.multi,
		ClientStream:   v.clientStream,
		Publish:        v.publish,
		Subscription:   v.deliver,
	})
}

// validation holds the state shared by all interceptors of one option that [New] has returned.
type validation struct{ validator protovalidate.Validator }

// check returns nil if message is valid. role describes the message in the error text, for example
// "request".
func (v validation) check(role string, method *registry.Method, message proto.Message) error {
	err := v.validator.Validate(message)
	if err == nil {
		return nil
	}
	invalid, isBroken := errors.AsType[*protovalidate.ValidationError](err)
	if !isBroken {
		return errors.NewErrorf(errors.Internal, "%s of %s cannot be validated: %w", role, method.FullName(), err)
	}
	rules := make([]string, len(invalid.Violations))
	for i, violation := range invalid.Violations {
		rules[i] = violation.String()
	}
	return errors.NewError(errors.InvalidArgument,
		&invalidError{role + " of " + method.FullName() + " is not valid: " + strings.Join(rules, "; "), invalid}, invalid.ToProto())
}

func (v validation) serve(
	ctx context.Context, request proto.Message, info dynamic.RPCInfo, handler dynamic.ServerRPCHandler,
) (proto.Message, error) {
	if err := v.check("request", info.Descriptor, request); err != nil {
		return nil, err
	}
	return handler(ctx, request)
}

func (v validation) call(info dynamic.RPCInfo, next dynamic.ClientRPCHandler) dynamic.ClientRPCHandler {
	return func(ctx context.Context, request proto.Message, opts ...dynamic.RequestOption) (proto.Message, error) {
		if err := v.check("request", info.Descriptor, request); err != nil {
			return nil, err
		}
		return next(ctx, request, opts...)
	}
}

func (v validation) multi(info dynamic.RPCInfo, next dynamic.ClientMultiRPCHandler) dynamic.ClientMultiRPCHandler {
	return validatedMulti{next, v, info.Descriptor}
}

func (v validation) clientStream(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	return clientStream{next, v, info.Descriptor}
}

func (v validation) serverStream(info dynamic.RPCInfo, next dynamic.StreamHandler) dynamic.StreamHandler {
	return serverStream{next, v, info.Descriptor}
}

func (v validation) publish(info dynamic.RPCInfo, next dynamic.PublishHandler) dynamic.PublishHandler {
	return func(ctx context.Context, update proto.Message) error {
		if err := v.check("update", info.Descriptor, update); err != nil {
			return err
		}
		return next(ctx, update)
	}
}

func (v validation) deliver(info dynamic.RPCInfo, next dynamic.DeliveryHandler) dynamic.DeliveryHandler {
	return func(ctx context.Context, update proto.Message) error {
		if err := v.check("update", info.Descriptor, update); err != nil {
			return err
		}
		return next(ctx, update)
	}
}
