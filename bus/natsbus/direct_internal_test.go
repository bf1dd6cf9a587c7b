package natsbus

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus/internal/flush"
)

// outcome keeps what a bus reports about a frame.
type outcome struct {
	receivers int
	err       error
}

func (o *outcome) Delivered(receivers int, err error) { *o = outcome{receivers, err} }

// mustNotSend returns a function that fails the test if it is called.
func mustNotSend(t *testing.T) func(outgoing) error {
	t.Helper()
	return func(outgoing) error {
		assert.Fail(t, "the frame is not repeated")
		return nil
	}
}

// A direct publication may have been received before the connection was lost. It is not repeated,
// even if the server has denied another private subject.
func TestDirectReport_ConnectionLost(t *testing.T) {
	t.Parallel()
	result := &outcome{}
	report := &directReport{send: mustNotSend(t), route: &directRoute{}, out: outgoing{report: result}}
	report.Delivered(bus.Unknown, flush.ErrConnLost)
	assert.Equal(t, &outcome{bus.Unknown, flush.ErrConnLost}, result)
}

// A direct publication that the server has denied is repeated on the subject of the queue. Here,
// that fails, because there is no connection.
func TestDirectReport_Denied(t *testing.T) {
	t.Parallel()
	c, route, result := &connection{}, &directRoute{}, &outcome{receivers: bus.Unknown}
	c.current.Store(&nats.Conn{})
	p := newPublisher(&telemetry{}, c, &subjects{}, newNoResponders(c, ""), sampleTimeout)
	route.open.Store(true)
	report := &directReport{send: p.sendFrame, route: route, out: outgoing{report: result}}
	report.Delivered(bus.Unknown, nats.ErrPermissionViolation)
	assert.Equal(t, &outcome{}, result)
	assert.False(t, route.open.Load())
}
