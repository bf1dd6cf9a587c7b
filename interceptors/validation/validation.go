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

// WithValidator sets what checks messages. The default, also for nil, is protovalidate.GlobalValidator.
func WithValidator(validator protovalidate.Validator) Option {
	return func(v *validation) {
		if validator != nil {
			v.validator = validator
		}
	}
}

// New checks, on a server or a service, the requests, the messages that clients send on streams, and the updates that it
// publishes: a request is answered with the error, a stream is closed with it, Publish returns it.
//
// On a conn it checks the same before it is sent: requests, messages on streams, and updates; whoever sends gets the error.
// It also checks the updates that come to the conn's subscriptions: those that break a rule are dropped, and counted as
// refused in [dynamic.SubscriptionStats].
func New(opts ...Option) dynamic.CommonOption {
	v := validation{protovalidate.GlobalValidator}
	for _, opt := range opts {
		opt(&v)
	}
	return dynamic.CommonOptions(
		dynamic.ServiceOptions(
			dynamic.WithServerRPCInterceptors(v.serve),
			dynamic.WithServerStreamInterceptors(v.serverStream),
			dynamic.WithServerPublishInterceptors(v.publish),
		),
		dynamic.ConnOptions(
			dynamic.WithClientRPCInterceptors(v.call),
			dynamic.WithClientMultiRPCInterceptors(v.multi),
			dynamic.WithClientStreamInterceptors(v.clientStream),
			dynamic.WithPublishInterceptors(v.publish),
			dynamic.WithSubscriptionInterceptors(v.deliver),
		),
	)
}

// validation is what interceptors share.
type validation struct{ validator protovalidate.Validator }

// check returns nil for a message that keeps the rules. What names its role.
func (v validation) check(what string, method *registry.Method, message proto.Message) error {
	err := v.validator.Validate(message)
	if err == nil {
		return nil
	}
	broken, isBroken := errors.AsType[*protovalidate.ValidationError](err)
	if !isBroken {
		return errors.NewErrorf(errors.Internal, "%s of %s cannot be validated: %w", what, method.FullName(), err)
	}
	rules := make([]string, len(broken.Violations))
	for i, violation := range broken.Violations {
		rules[i] = violation.String()
	}
	return errors.NewError(errors.InvalidArgument,
		&invalidError{what + " of " + method.FullName() + " is not valid: " + strings.Join(rules, "; "), broken}, broken.ToProto())
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
