package metrics

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// call measures one call, stream or update. Its methods may be called from many goroutines; end is called once.
type call struct {
	*callInstruments

	observer Observer
	context  context.Context //nolint:containedctx // of the call
	labels   []string        // of its subject; clipped
	started  time.Time
}

func (c *call) observe(instrument *Instrument, value float64, outcome ...string) {
	if instrument != nil {
		c.observer.Observe(c.context, instrument, value, append(c.labels, outcome...)...)
	}
}

// observeSize measures a message, which may be none.
func (c *call) observeSize(instrument *Instrument, message proto.Message) {
	if message != nil {
		c.observe(instrument, float64(proto.Size(message)))
	}
}

// observeResponse measures one of several responses.
func (c *call) observeResponse(err error) { c.observe(c.responses, 1, outcome(err)...) }

func (c *call) end(err error) {
	c.observe(c.duration, time.Since(c.started).Seconds(), outcome(err)...)
	c.observe(c.active, -1)
}

var success = []string{ok, ""}

// outcome returns the labels of an end. Of codes that are not known there may be any number, made up by some peer.
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

// measure measures function as the whole of a call. A panic is one of the code internal, and goes on.
func (c *call) measure(function func() error) {
	err := error(errors.NewErrorf(errors.Internal, "panic"))
	defer func() { c.end(err) }()
	err = function()
}
