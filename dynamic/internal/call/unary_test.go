package call

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// TestUnaryCall_LateTimer checks a call that waits for a server to confirm the request and whose
// timer expires late. The call must then wait once more, but never longer than its timeout.
func TestUnaryCall_LateTimer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		elapsed, timeout time.Duration
		want             time.Duration // the earliest new signDeadline that is allowed
	}{
		"late":                     {1500 * time.Millisecond, time.Minute, 2450 * time.Millisecond},
		"late, close to the end":   {1500 * time.Millisecond, 2 * time.Second, 2 * time.Second},
		"very late, still in time": {50 * time.Second, time.Minute, 50950 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				engine := New(Config{
					Bus: bus.NewLocal(), ClientID: "CLI_a", DefaultTimeout: 3 * time.Second, SelectionTimeout: time.Second, Logger: slog.Default(),
				})
				defer func() { assert.NoError(t, engine.Close()) }()
				c := unaryCall{
					plan: &Plan{engine: engine}, inbox: engine.inboxes.get(engine.ids.newRequest()), started: time.Now().Add(-test.elapsed),
					timeout: test.timeout, awaitsSign: true, signDeadline: time.Second,
				}
				_, isFinal, err := c.onTimeout()
				c.inbox.timer.stop()
				assert.NoError(t, err)
				assert.False(t, isFinal)
				assert.GreaterOrEqual(t, c.signDeadline, test.want)
				assert.LessOrEqual(t, c.signDeadline, test.timeout)
			})
		})
	}
}

// call makes a call and returns its response, how it has ended, and its error.
func (c *client) call(t testing.TB, request *Request) (string, Ending, error) {
	t.Helper()
	request.Body = wire.Body{Raw: []byte("hi")}
	var ending Ending
	response, err := c.plan.Call(t.Context(), &c.route, request, &ending)
	return string(response), ending, err
}

func TestPlan_Call_QueueMethodNeedsNoClaim(t *testing.T) {
	t.Parallel()
	c := newClient(t, "Queue")
	c.serve(t, func(request wire.Request) {
		assert.True(t, request.SkipClaim)
		assert.EqualValues(t, maxAnnounceAfter.Milliseconds(), request.AnnounceAfter)
		assert.Equal(t, map[string]string{"k": "v"}, request.Metadata)
		c.respond(t, request, "SRV_a", string(request.Body.Raw)+" there")
	})
	response, ending, err := c.call(t, &Request{Metadata: map[string]string{"k": "v"}})
	require.NoError(t, err)
	assert.Equal(t, "hi there", response)
	assert.Equal(t, "SRV_a", ending.Facts.ServerID)
	assert.Equal(t, Skipped, ending.Outcome)
	assert.Equal(t, "SRV_a", ending.Server)
	assert.Zero(t, ending.Wait)
}

// A psrpc server claims the request of a queue method, and waits for the grant.
func TestPlan_Call_QueueMethodGrantsTheFirstClaim(t *testing.T) {
	t.Parallel()
	c := newClient(t, "Queue")
	var received wire.Request
	c.serve(t, func(request wire.Request) {
		received.RequestID = bytes.Clone(request.RequestID)
		c.claim(t, request.RequestID, "SRV_old", 1)
	})
	c.onGrant(t, func(server string) { c.respond(t, received, server, "late") })
	response, ending, err := c.call(t, &Request{})
	require.NoError(t, err)
	assert.Equal(t, "late", response)
	assert.Equal(t, Granted, ending.Outcome)
	assert.Equal(t, "SRV_old", ending.Server)
}

func TestPlan_Call_SelectsTheBestClaim(t *testing.T) {
	t.Parallel()
	c := newClient(t, "Best")
	var received wire.Request
	c.serve(t, func(request wire.Request) {
		received.RequestID = bytes.Clone(request.RequestID)
		c.claim(t, request.RequestID, "SRV_worse", 0.5)
	})
	c.serve(t, func(request wire.Request) { c.claim(t, request.RequestID, "SRV_better", 0.75) })
	c.onGrant(t, func(server string) { c.respond(t, received, server, "from "+server) })
	response, ending, err := c.call(t, &Request{})
	require.NoError(t, err)
	assert.Equal(t, "from SRV_better", response)
	assert.Equal(t, Granted, ending.Outcome)
}

func TestPlan_Call_AllDecline(t *testing.T) {
	t.Parallel()
	c := newClient(t, "Best")
	c.serve(t, func(request wire.Request) { c.claim(t, request.RequestID, "SRV_a", -1) })
	_, ending, err := c.call(t, &Request{})
	require.ErrorIs(t, err, errors.ErrNoResponse)
	assert.Equal(t, errors.ReasonAllDeclined, ending.Facts.Reason)
	assert.Equal(t, Declined, ending.Outcome)
	assert.Empty(t, ending.Server)
}

// If the user's SelectionFunc returns an error, the call fails with that error, and no server is
// selected.
func TestPlan_Call_SelectionFuncFails(t *testing.T) {
	t.Parallel()
	c := newClient(t, "Best")
	refused := errors.New("none is good enough")
	c.serve(t, func(request wire.Request) { c.claim(t, request.RequestID, "SRV_a", 1) })
	opts := selection.Opts{
		ShortCircuitTimeout: time.Millisecond,
		SelectionFunc:       func([]*selection.Claim) (string, error) { return "", refused },
	}
	granted := make(chan string, 1)
	c.onGrant(t, func(server string) { granted <- server })
	_, _, err := c.call(t, &Request{Selection: &Selection{Opts: opts}})
	require.ErrorIs(t, err, refused)
	assert.Empty(t, <-granted, "the server is told that it was not selected")
}

func TestPlan_Call_Errors(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		response wire.Response
		check    func(t *testing.T, err error)
	}{
		"code": {
			wire.Response{Code: string(errors.NotFound), Error: "no such thing"},
			func(t *testing.T, err error) {
				t.Helper()
				coded, ok := errors.AsType[errors.Error](err)
				require.True(t, ok)
				assert.Equal(t, errors.NotFound, coded.Code())
				assert.Equal(t, "no such thing", err.Error())
			},
		},
		"unprocessed": {
			wire.Response{Code: string(errors.Unavailable), Error: "busy", Unprocessed: true},
			func(t *testing.T, err error) {
				t.Helper()
				_, unprocessed := errors.AsType[UnprocessedError](err)
				assert.True(t, unprocessed)
			},
		},
		"unimplemented": {
			wire.Response{Code: string(errors.Unimplemented), Error: errors.ErrUnimplemented.Error()},
			func(t *testing.T, err error) {
				t.Helper()
				require.ErrorIs(t, err, errors.ErrUnimplemented)
				facts, _ := errors.FactsOf(err)
				assert.Equal(t, "test.Echoes/Queue", facts.Method)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, "Queue")
			c.serve(t, func(request wire.Request) {
				response := test.response
				response.RequestID, response.ServerID = request.RequestID, []byte("SRV_a")
				c.send(t, wire.ResponseChannel("Echoes", "CLI_a"), &response)
			})
			_, ending, err := c.call(t, &Request{})
			require.Error(t, err)
			test.check(t, err)
			assert.Equal(t, "SRV_a", ending.Server)
		})
	}
}

func TestPlan_Call_NobodyListens(t *testing.T) {
	t.Parallel()
	c := newClient(t, "Queue")
	_, ending, err := c.call(t, &Request{})
	require.ErrorIs(t, err, errors.ErrNoResponse)
	assert.Equal(t, errors.ReasonNobodyListening, ending.Facts.Reason)
	assert.Equal(t, TimedOut, ending.Outcome)
}

// If a server does not confirm that it has received the request, the call fails shortly before the
// selection timeout. If the server announces that it is handling the request, the call waits until
// its own timeout.
func TestPlan_Call_SilentServers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, "Queue")
		handling := false
		c.serve(t, func(request wire.Request) {
			if handling {
				c.send(t, wire.ClaimRequestChannel("Echoes", "CLI_a"), &wire.ClaimRequest{
					RequestID: request.RequestID, ServerID: []byte("SRV_a"), Affinity: 1, Handling: true,
				})
			}
		})
		started := time.Now()
		_, ending, err := c.call(t, &Request{})
		require.ErrorIs(t, err, errors.ErrNoResponse)
		assert.Equal(t, errors.ReasonNoSign, ending.Facts.Reason)
		assert.Equal(t, 950*time.Millisecond, time.Since(started))

		handling, started = true, time.Now()
		_, ending, err = c.call(t, &Request{Timeout: 5 * time.Second})
		require.ErrorIs(t, err, errors.ErrRequestTimedOut)
		assert.Equal(t, errors.ReasonClaimedButSilent, ending.Facts.Reason)
		assert.Equal(t, 5*time.Second, time.Since(started))
	})
}

// If the caller cancels a call, the client publishes a cancellation for the request.
func TestPlan_Call_Canceled(t *testing.T) {
	t.Parallel()
	c := newClient(t, "Queue")
	ctx, cancel := context.WithCancel(t.Context())
	canceled := make(chan string, 1)
	listen(t, c, bus.Channel(wire.CancelChannel("Echoes")), wire.ParseCancel, func(m wire.Cancel) { canceled <- string(m.RequestID) })
	c.serve(t, func(wire.Request) { cancel() })
	var ending Ending
	_, err := c.plan.Call(ctx, &c.route, &Request{}, &ending)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, ending.Facts.RequestID, <-canceled)
	assert.Equal(t, NoOutcome, ending.Outcome)
}

func TestPlan_Call_EngineIsClosed(t *testing.T) {
	t.Parallel()
	c := newClient(t, "Queue")
	closed := make(chan error, 1)
	c.serve(t, func(wire.Request) { go func() { closed <- c.Close() }() })
	_, ending, err := c.call(t, &Request{})
	require.ErrorIs(t, err, errors.ErrClientClosed)
	assert.Equal(t, errors.ReasonClosed, ending.Facts.Reason)
	require.NoError(t, <-closed)
	_, _, err = c.call(t, &Request{})
	require.ErrorIs(t, err, errors.ErrClientClosed)
}

// Responses and claims of calls that are not pending are counted.
func TestEngine_CountsUnmatchedAndBadFrames(t *testing.T) {
	t.Parallel()
	c := newClient(t, "Queue")
	c.respond(t, wire.Request{RequestID: []byte("REQ_000000000000")}, "SRV_a", "")
	c.claim(t, []byte("REQ_000000000000"), "SRV_a", 1)
	for _, channel := range []wire.Channel{wire.ResponseChannel("Echoes", "CLI_a"), wire.ClaimRequestChannel("Echoes", "CLI_a")} {
		require.NoError(t, c.bus.Publish(t.Context(), bus.Channel(channel), []byte("\xff"), nil))
	}
	assert.EqualValues(t, 2, c.Drops().Count(transport.DropUnmatched))
	assert.EqualValues(t, 2, c.Drops().Count(transport.DropBadFrame))
}

func TestSelection_AcceptsAnyServer(t *testing.T) {
	t.Parallel()
	first := selection.Opts{AcceptFirstAvailable: true}
	short, minimum := first, first
	short.AffinityTimeout, minimum.MinimumAffinity = minUnicastTimeout-1, 0.5
	assert.True(t, (&Selection{Opts: first}).acceptsAnyServer())
	assert.False(t, (&Selection{Opts: short}).acceptsAnyServer())
	assert.False(t, (&Selection{Opts: minimum}).acceptsAnyServer())
	assert.False(t, (&Selection{Opts: first, Candidates: 2}).acceptsAnyServer())
	assert.False(t, (&Selection{}).acceptsAnyServer())
}
