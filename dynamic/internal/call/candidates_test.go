package call

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

func TestPlan_Candidates(t *testing.T) {
	t.Parallel()
	c := newClient(t, "Best")
	granted := make(chan string, 1)
	c.onGrant(t, func(server string) { granted <- server })
	c.serve(t, func(request wire.Request) {
		assert.True(t, request.AcceptDecline)
		c.claim(t, request.RequestID, "SRV_a", 0.5)
	})
	c.serve(t, func(request wire.Request) { c.claim(t, request.RequestID, "SRV_b", -1) })
	c.serve(t, func(request wire.Request) { c.claim(t, request.RequestID, "SRV_c", 0.75) })
	result, err := c.plan.Candidates(t.Context(), &c.route, &Request{Timeout: time.Second})
	require.NoError(t, err)
	assert.Empty(t, <-granted, "no server is selected")
	assert.Equal(t, "SRV_c", result.Selected)
	assert.True(t, result.Complete)
	assert.False(t, result.OneOfSeveral)
	assert.Equal(t, 3, result.Receivers)
	assert.Zero(t, result.Silent)
	require.Len(t, result.Candidates, 3)
	assert.True(t, result.Candidates[1].Declined)
}

// A claim that arrives while the user's SelectionFunc runs must not wait until it returns.
func TestPlan_Candidates_ClaimDuringSelection(t *testing.T) {
	t.Parallel()
	c := newClient(t, "Best")
	var requestID []byte
	c.serve(t, func(request wire.Request) {
		requestID = bytes.Clone(request.RequestID)
		c.claim(t, request.RequestID, "SRV_a", 0.5)
	})
	choose := func(claims []*selection.Claim) (string, error) {
		late, err := (&wire.ClaimRequest{RequestID: requestID, ServerID: []byte("SRV_b"), Affinity: 1}).AppendFrame(nil)
		assert.NoError(t, err)
		c.onClaim(bus.Channel(wire.ClaimRequestChannel("Echoes", "CLI_a")))(late)
		return claims[0].ServerID, nil
	}
	request := &Request{Timeout: time.Second, Selection: &Selection{Opts: selection.Opts{SelectionFunc: choose}}}
	result, err := c.plan.Candidates(t.Context(), &c.route, request)
	require.NoError(t, err)
	assert.Equal(t, "SRV_a", result.Selected)
	assert.Len(t, result.Candidates, 1)
}

func TestPlan_Candidates_SilentServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, "Best")
		c.serve(t, func(request wire.Request) { c.claim(t, request.RequestID, "SRV_a", 0.5) })
		c.serve(t, func(wire.Request) {})
		result, err := c.plan.Candidates(t.Context(), &c.route, &Request{Timeout: time.Second})
		require.NoError(t, err)
		assert.False(t, result.Complete)
		assert.Equal(t, 1, result.Silent)
		assert.Equal(t, time.Second, result.Took)
	})
}

func TestPlan_Candidates_Error(t *testing.T) {
	t.Parallel()
	c := newClient(t, "Queue")
	c.serve(t, func(request wire.Request) {
		c.send(t, wire.ResponseChannel("Echoes", "CLI_a"), &wire.Response{
			RequestID: request.RequestID, ServerID: []byte("SRV_a"), Code: string(errors.MalformedRequest), Error: "bad",
		})
	})
	_, err := c.plan.Candidates(t.Context(), &c.route, &Request{Timeout: time.Second})
	require.EqualError(t, err, "bad")
	require.NoError(t, c.Close())
	_, err = c.plan.Candidates(t.Context(), &c.route, &Request{Timeout: time.Second})
	require.ErrorIs(t, err, errors.ErrClientClosed)
}
