package dynamic

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/message"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// resolveInvocation returns the plan for a method, and the request converted to the method's
// request type.
func (c *Conn) resolveInvocation(
	ctx context.Context, name string, request any, opts []RequestOption,
) (*clientPlan, proto.Message, error) {
	plan, err := c.methodPlan(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	message, err := c.messageFrom(&plan.requests, request, opts)
	if err != nil {
		return nil, nil, errors.NewErrorf(errors.InvalidArgument, "request of %s: %w", plan.method.FullName(), err)
	}
	return plan, message, nil
}

// messageFrom converts value, which was passed to an Invoke function or to Publish, to a message of
// type t. If value already is a message, messageFrom returns it without checking its type.
func (c *Conn) messageFrom(t *message.Type, value any, opts []RequestOption) (proto.Message, error) {
	if message, ok := value.(proto.Message); ok {
		return message, nil
	}
	return t.From(value, c.discardsUnknown(opts))
}

// discardsUnknown reports whether WithDiscardUnknown is among the options of the conn or in opts.
func (c *Conn) discardsUnknown(opts []RequestOption) bool {
	return c.options.discardUnknown ||
		slices.ContainsFunc(opts, func(opt RequestOption) bool { _, ok := opt.(discardUnknownOption); return ok })
}

// methodPlan returns the plan that the Invoke functions use for a method. The conn keeps one plan
// per method for later calls. If the registry now has another version of the method, the conn
// creates a new plan.
func (c *Conn) methodPlan(ctx context.Context, name string) (*clientPlan, error) {
	if ctx == nil {
		return nil, nilContextError(name)
	}
	method, err := c.lookUpMethod(name)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	plan := c.plans[method.FullName()]
	c.mu.Unlock()
	if plan != nil && plan.method == method {
		return plan, nil
	}
	if plan, err = newClientPlan[proto.Message, proto.Message](ctx, c.engine, &c.options, method); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.engine.Err(); err != nil {
		return nil, err
	}
	c.plans[method.FullName()] = plan
	return plan, nil
}

// publisher returns the publisher for a method. The conn keeps one publisher per method for later
// updates. If the registry now has another version of the method, the conn creates a new publisher.
func (c *Conn) publisher(name string) (*publisher, error) {
	method, err := c.lookUpMethod(name)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	p := c.publishers[method.FullName()]
	c.mu.Unlock()
	if p != nil && p.Method == method {
		return p, nil
	}
	updates, err := message.Resolve[proto.Message](method.Service(), method.Output())
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "update of %s: %w", method.FullName(), err)
	}
	p = newPublisher(c.engine.Bus(), method, updates, c.options.interceptors.publish, c.options.allowEmptyParts)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.publishers[method.FullName()] = p
	return p, nil
}

// lookUpMethod looks up a method by its full name in the conn's registry. If there is no such
// method, lookUpMethod returns an error. The error suggests a similar name, or says that the method
// belongs to a gRPC service.
func (c *Conn) lookUpMethod(name string) (*registry.Method, error) {
	if c == nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "method %s: the conn is nil", name)
	}
	method, ok := c.registry.Method(name)
	if !ok {
		if service := c.grpcService(name); service != "" {
			return nil, errors.NewErrorf(errors.Unimplemented,
				"method %s is not in the conn's registry, which has left out %s: it is a gRPC service, with the stream keyword",
				name, service)
		}
		return nil, errors.NewErrorf(errors.Unimplemented,
			"method %s is not in the conn's registry; names look like my.pkg.MyService/MyMethod%s",
			name, transport.Suggest(name, c.knownMethods(), (*registry.Method).FullName))
	}
	return method, nil
}

// grpcService returns the name of the gRPC service to which a method belongs, or an empty string if
// it belongs to none. It helps to explain a failed lookup, because the registry leaves out gRPC
// services. method is the full name of the method.
func (c *Conn) grpcService(method string) string {
	method = strings.TrimPrefix(method, "/")
	for _, service := range c.registry.GRPCServices() {
		if rest, ok := strings.CutPrefix(method, service); ok && rest != "" && strings.ContainsRune("./", rune(rest[0])) {
			return service
		}
	}
	return ""
}

func (c *Conn) knownMethods() (methods []*registry.Method) {
	for _, service := range c.registry.Services() {
		methods = append(methods, service.Methods()...)
	}
	return methods
}
