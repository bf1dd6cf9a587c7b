package dynamic

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Publish is like [Registration.Publish], but sends the update through a conn, so it needs no
// server. name is the full name of the method in the conn's registry. update may have any of the
// forms that [Invoke] accepts for a request, and must describe a message of the method's output
// type.
func Publish(ctx context.Context, c *Conn, name string, update any, opts ...RequestOption) error {
	p, err := c.publisher(name)
	if err != nil {
		return err
	}
	if err := c.engine.Err(); err != nil {
		return err
	}
	message, err := c.messageFrom(&p.Updates, update, opts)
	if err != nil {
		return errors.NewErrorf(errors.InvalidArgument, "update of %s: %w", p.Method.FullName(), err)
	}
	return p.publish(ctx, message, opts)
}
