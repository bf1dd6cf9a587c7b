package doctor_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/doctor"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// A healthy fleet must pass all checks on every kind of bus, while clients call it.
func TestExamine_WholeFleet(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, n network) {
		service := parse(t, orders)
		for i := range 3 {
			p := serve(t, n.open(t, ""), fmt.Sprintf("SRV_whole%d", i), service, handlers(service, echo))
			require.NoError(t, p.registration.RegisterTopic("Room", fmt.Sprintf("room%d", i)))
		}
		calls := client(t, n.open(t, ""), service, "Get")
		ctx, stop := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() {
			for ctx.Err() == nil {
				if _, err := calls.Call(t.Context(), order(service)); err != nil {
					stopped <- err
					return
				}
				<-time.After(time.Millisecond) // keeps the load moderate
			}
			stopped <- nil
		}()
		report := examine(t, n.open(t, ""))
		stop()
		require.NoError(t, <-stopped)
		ran := append([]string{}, report.Passed...)
		report.Findings = slices.DeleteFunc(report.Findings, func(f doctor.Finding) bool {
			if f.Check != "bus.rtt" {
				return false
			}
			ran = append(ran, f.Check)
			return f.Severity == doctor.Warning // on a busy machine, any broker may take long to answer
		})
		assert.Equal(t, doctor.OK, report.Worst(), "%+v", report)
		for _, skip := range report.Skipped {
			ran = append(ran, skip.Check)
			assert.Equal(t, "nats", n.name, "only NATS without its monitoring port keeps something to itself: %+v", skip)
		}
		for id := range doctor.IDs() {
			if !doctor.AppliesTo(id, n.name) {
				continue
			}
			assert.Contains(t, ran, id)
		}
		require.NotEmpty(t, report.Findings)
		assert.Equal(t, "fleet.servers", report.Findings[1].Check)
		assert.Equal(t, "3 servers with 1 service", report.Findings[1].Seen)
	})
}

func TestExamine_UnknownCheck(t *testing.T) {
	t.Parallel()
	n := onLocal(t)
	b := n.open(t, "")
	_, err := doctor.Examine(t.Context(), doctor.Target{Bus: b, Fleet: newFleet(t, b)}, doctor.Options{Only: []string{"fleet.clok"}})
	require.EqualError(t, err, "there is no check fleet.clok; did you mean fleet.clock?")
}

// The beginning of an ID must select all checks whose ID begins with it.
func TestExamine_SelectsChecks(t *testing.T) {
	t.Parallel()
	n := onLocal(t)
	b := n.open(t, "")
	serve(t, b, "SRV_x", parse(t, orders), nil, dynamic.AllowMissing())
	report := examine(t, b, "bus", "fleet.clock")
	assert.Equal(t, []string{"bus.reach", "bus.rtt", "bus.version", "bus.acl", "bus.max_payload", "fleet.clock"}, report.Passed)
}

// A bus without servers is not a fault of the broker. There must be a warning that nothing can be
// said about servers.
func TestExamine_NoServers(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, n network) {
		f := finding(t, n.open(t, ""), "fleet")
		assert.Equal(t, "fleet.servers", f.Check)
		assert.Equal(t, doctor.Warning, f.Severity)
	})
}
