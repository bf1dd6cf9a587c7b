package metrics

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

const (
	eventReceived = "received"
	eventExpired  = "expired"
)

// serverEvent observes an event of a request on a server.
func (m *metrics) serverEvent(event dynamic.RequestEvent) {
	switch event.Kind {
	case dynamic.RequestReceived:
		m.observeEvent(m.requests, 1, event, eventReceived)
	case dynamic.RequestExpired:
		m.observeEvent(m.requests, 1, event, eventExpired)
	case dynamic.ClaimDecided:
		m.observeEvent(m.serverClaims, event.Wait.Seconds(), event, event.Outcome.String())
	}
}

// clientEvent observes an event of a request on a conn.
func (m *metrics) clientEvent(event dynamic.RequestEvent) {
	if event.Kind == dynamic.ClaimDecided {
		m.observeEvent(m.clientClaims, event.Wait.Seconds(), event, event.Outcome.String())
	}
}

func (m *metrics) observeEvent(instrument *Instrument, value float64, event dynamic.RequestEvent, label string) {
	m.observer.Observe(context.Background(), instrument, value, append(m.subject(event.Info), label)...)
}
