package natsbus

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// outcome keeps what a bus reports about a frame.
type outcome struct {
	receivers int
	err       error
}

func (o *outcome) Delivered(receivers int, err error) { *o = outcome{receivers, err} }

// A direct publication may have been received before the connection was lost. It is not repeated,
// even if the server has denied another private subject.
func TestDirectReport_ConnectionLost(t *testing.T) {
	t.Parallel()
	b, result := &Bus{}, &outcome{}
	b.nc.Store(&nats.Conn{})
	b.privateDenied.Store(true)
	report := &directReport{bus: b, route: &directRoute{}, out: outgoing{report: result}}
	report.Delivered(bus.Unknown, errConnLost)
	assert.Equal(t, &outcome{bus.Unknown, errConnLost}, result)
}

// A direct publication that the server has denied is repeated on the subject of the queue. Here,
// that fails, because there is no connection.
func TestDirectReport_Denied(t *testing.T) {
	t.Parallel()
	b, route, result := &Bus{}, &directRoute{}, &outcome{receivers: bus.Unknown}
	b.nc.Store(&nats.Conn{})
	route.open.Store(true)
	report := &directReport{bus: b, route: route, out: outgoing{report: result}}
	report.Delivered(bus.Unknown, nats.ErrPermissionViolation)
	assert.Equal(t, &outcome{}, result)
	assert.False(t, route.open.Load())
}
