package dynamic

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// InvokeRaw calls a method with an encoded request and returns the encoded response. It is meant
// for programs that pass messages on, such as gateways. request must be in protobuf's binary
// encoding. The name is as described for [Invoke].
//
// InvokeRaw does not check whether the request and the response are well-formed; the server rejects
// a malformed request. However, interceptors and hooks need decoded messages. If the conn or the
// call has any, InvokeRaw decodes the request and the response. If the request cannot be decoded,
// InvokeRaw then fails with the code [errors.InvalidArgument]. The other errors are those of
// [Invoke]. The caller must not modify the result, which may share memory with the frame of the
// bus.
func InvokeRaw(ctx context.Context, c *Conn, name string, request []byte, opts ...RequestOption) ([]byte, error) {
	plan, err := c.methodPlan(ctx, name)
	if err != nil {
		return nil, err
	}
	o := newRequestOptions(opts)
	if err := plan.check(ctx, registry.KindSingle); err != nil {
		return nil, err
	}
	route, err := plan.route(nil, &o)
	if err != nil {
		return nil, err
	}
	if !plan.needsMessages(route, &o) {
		return plan.callUnary(ctx, route, wire.Body{Raw: request}, &o)
	}
	decoded, err := plan.requests.Decode(request)
	if err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "request of %s: %w", plan.method.FullName(), err)
	}
	response, err := plan.call(ctx, nil, decoded, opts)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(response)
}

// needsMessages reports whether interceptors or hooks take part in a call, so that its request and
// response must be decoded.
func (p *clientPlan) needsMessages(r *route, o *requestOptions) bool {
	options := p.options
	return r.handler != nil || o.interceptors != nil || len(options.requestHooks) > 0 || len(options.responseHooks) > 0
}
