package metrics

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// call measures one call, stream or update. Its methods are safe for concurrent use; end must be
// called exactly once.
type call struct {
	*callInstruments

	observer Observer
	// context is the context of the call, which is passed to the observer.
	context context.Context //nolint:containedctx
	// labels has no spare capacity, so appending to it always copies it.
	labels  []string
	started time.Time
}

func (c *call) observe(instrument *Instrument, value float64, outcome ...string) {
	if instrument != nil {
		c.observer.Observe(c.context, instrument, value, append(c.labels, outcome...)...)
	}
}

// observeSize observes the encoded size of message in bytes. A nil message is not observed.
func (c *call) observeSize(instrument *Instrument, message proto.Message) {
	if message != nil {
		c.observe(instrument, float64(proto.Size(message)))
	}
}

// observeResponse counts one response to a multi call.
func (c *call) observeResponse(err error) { c.observe(c.responses, 1, outcome(err)...) }

func (c *call) end(err error) {
	c.observe(c.duration, time.Since(c.started).Seconds(), outcome(err)...)
	c.observe(c.active, -1)
}

var success = []string{ok, ""}

// outcome returns the status and error labels for err. All codes that package errors does not
// define share one label, because otherwise peers could create any number of time series.
func outcome(err error) []string {
	if err == nil {
		return success
	}
	code := errors.FromContext(err).Code()
	if !code.Known() || code == errors.OK {
		code = "_OTHER"
	}
	return []string{string(code), string(code)}
}

// measure calls f and observes its duration and result. If f panics, measure observes the error
// code "internal" and does not recover the panic.
func (c *call) measure(f func() error) {
	err := error(errors.NewErrorf(errors.Internal, "panic"))
	defer func() { c.end(err) }()
	err = f()
}
