package interop

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// asked is a fleet of servers. Tests ask them which server would take a request.
type asked struct {
	broker broker
	conn   *dynamic.Conn
	// ran counts the handlers that ran.
	ran atomic.Int64
	// decided receives the outcomes of the claims of psrpc servers.
	decided chan claimDecision
}

// startAsked starts a psrpc server for each affinity, and a dynpsrpc conn.
func startAsked(t *testing.T, b broker, skipClaim bool, affinities ...float32) *asked {
	t.Helper()
	a := &asked{broker: b, decided: make(chan claimDecision, 100)}
	for _, affinity := range affinities {
		a.serve(t, psrpcWith(features{skipClaim: skipClaim, decided: a.decided}), affinity)
	}
	var err error
	a.conn, err = dynamic.NewConn(b.dynpsrpc(t), newRegistry(t), dynpsrpcOptions(features{}),
		dynamic.WithClientTimeout(callTimeout), dynamic.WithSelectionTimeout(callTimeout))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.conn.Close()) })
	return a
}

func (a *asked) serve(t *testing.T, of library, affinity float32) {
	t.Helper()
	of.server(t, a.broker, handlers{affinity: affinity, unary: func(context.Context, string) (string, error) {
		a.ran.Add(1)
		return "", nil
	}, stream: func(stream) error {
		a.ran.Add(1)
		return nil
	}})
}

func (a *asked) ask(t *testing.T, method string, opts ...dynamic.RequestOption) *dynamic.CandidatesResult {
	t.Helper()
	// The timeout is long, because the tests share a busy machine. Most tests do not wait so long.
	opts = append([]dynamic.RequestOption{dynamic.WithRequestTimeout(callTimeout)}, opts...)
	result, err := dynamic.Candidates(t.Context(), a.conn, serviceName+"/"+method, nil, opts...)
	require.NoError(t, err)
	return result
}

// requireFreed checks that psrpc servers have dropped n requests because others were selected, and
// not because the requests have expired.
func (a *asked) requireFreed(t *testing.T, n int) {
	t.Helper()
	if psrpcVersion == "v0.7.2" {
		return // this version does not report the reason
	}
	for range n {
		select {
		case decision := <-a.decided:
			assert.Equal(t, "lost_to_peer", decision.outcome)
			assert.Less(t, decision.wait, callTimeout/2)
		case <-time.After(callTimeout):
			require.FailNow(t, "a psrpc server still waits for the decision about its claim")
		}
	}
}

// Candidates must find the psrpc servers that would take a request, without running a handler.
func TestCandidates_OfPsrpc(t *testing.T) {
	const silence = 4 * time.Second // long, because all claims must arrive before
	psrpcLog.take()
	var all []*asked
	for _, b := range brokers {
		for name, skipClaim := range map[string]bool{"claim": false, "skip claim": true} {
			a := startAsked(t, b.start(t), skipClaim, 0.25, 0.75, -1)
			all = append(all, a)
			t.Run(b.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				// A psrpc server that declines sends nothing, so the request lasts until its
				// timeout.
				result := a.ask(t, "Best", dynamic.WithRequestTimeout(silence))
				affinities := map[float32]bool{}
				for _, candidate := range result.Candidates {
					assert.False(t, candidate.Declined)
					assert.NotEmpty(t, candidate.ServerID)
					affinities[candidate.Affinity] = true
					if candidate.Affinity == 0.75 {
						assert.Equal(t, candidate.ServerID, result.Selected)
					}
				}
				assert.Equal(t, map[float32]bool{0.25: true, 0.75: true}, affinities)
				assert.False(t, result.OneOfSeveral)
				if b.name == "Redis" {
					assert.Equal(t, 3, result.Receivers)
					assert.Equal(t, 1, result.Silent)
				} else {
					assert.Equal(t, bus.Unknown, result.Receivers)
					assert.Equal(t, bus.Unknown, result.Silent)
				}
				a.requireFreed(t, 2)

				result = a.ask(t, "Queue")
				assert.True(t, result.OneOfSeveral)
				assert.Len(t, result.Candidates, 1)
				a.requireFreed(t, 1)
				a.ask(t, "Flow", dynamic.WithRequestTimeout(silence))

				for _, method := range []string{"Every", "Feed"} {
					_, err := dynamic.Candidates(t.Context(), a.conn, serviceName+"/"+method, nil)
					var coded errors.Error
					require.ErrorAs(t, err, &coded)
					assert.Equal(t, errors.FailedPrecondition, coded.Code())
				}
				assert.Zero(t, a.ran.Load(), "handlers that ran")
			})
		}
	}
	// The subtests share psrpc's log, and calls may add lines to it. The calls must therefore wait
	// until all subtests have ended.
	t.Cleanup(func() {
		assert.Empty(t, psrpcLog.take(), "lines that psrpc has logged")
		for _, a := range all {
			_, err := dynamic.Invoke(context.Background(), a.conn, serviceName+"/Best", nil)
			assert.NoError(t, err)
			assert.EqualValues(t, 1, a.ran.Load())
		}
	})
}

// Candidates must find servers of both libraries.
func TestCandidates_OfBoth(t *testing.T) {
	for _, b := range brokers {
		t.Run(b.name, func(t *testing.T) {
			a := startAsked(t, b.start(t), false, 0.25)
			a.serve(t, ours, 0.75)
			a.serve(t, ours, -1)
			result := a.ask(t, "Best")
			assert.Len(t, result.Candidates, 3)
			assert.True(t, result.Complete)
			for _, candidate := range result.Candidates {
				assert.Equal(t, candidate.Affinity < 0, candidate.Declined)
			}
			a.requireFreed(t, 1)
			assert.Zero(t, a.ran.Load(), "handlers that ran")
		})
	}
}

// A call that selects no server must free the psrpc servers that have claimed its request.
func TestSelectionOfNobody_FreesPsrpc(t *testing.T) {
	for _, b := range brokers {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			a := startAsked(t, b.start(t), false, 0.25, 0.5)
			const timeout = 4 * time.Second // long, because both claims must arrive before
			for _, selection := range []dynamic.SelectionOpts{
				{MinimumAffinity: 0.9, AffinityTimeout: timeout},
				{AffinityTimeout: timeout, SelectionFunc: func([]*dynamic.Claim) (string, error) { return "", errors.ErrNoResponse }},
				{AffinityTimeout: timeout, SelectionFunc: func([]*dynamic.Claim) (string, error) { return "", nil }},
			} {
				_, err := dynamic.Invoke(t.Context(), a.conn, serviceName+"/Best", nil,
					dynamic.WithSelectionOpts(selection), dynamic.WithRequestTimeout(callTimeout))
				require.Error(t, err)
				a.requireFreed(t, 2)
			}
			assert.Zero(t, a.ran.Load(), "handlers that ran")
		})
	}
}

// An inspector must see the traffic of psrpc servers and clients without disturbing it.
func TestInspector_SeesPsrpc(t *testing.T) {
	for _, b := range brokers {
		t.Run(b.name, func(t *testing.T) {
			psrpcLog.take()
			broker := b.start(t)
			theirs.server(t, broker, answers("a"))
			client := theirs.client(t, broker)
			client.subscribe(t, "Feed", nil)
			inspector := broker.dynpsrpc(t).(bus.Inspector)
			counts, err := inspector.Count(t.Context(), bus.Channel{Name: "Peer|Best|REQ", Subject: "SRV.Peer", Key: "Best.REQ"},
				bus.Channel{Name: "Peer|Queue|REQ", Subject: "SRV.Peer.Q", Key: "Queue.REQ"},
				bus.Channel{Name: "Peer|Feed|REQ", Subject: "SRV.Peer", Key: "Feed.REQ"},
				bus.Channel{Name: "Nobody|Best|REQ", Subject: "SRV.Nobody", Key: "Best.REQ"},
				bus.Channel{Name: "Peer|CLI_nobody|RES", Subject: "CLI.Peer.CLI_nobody.RES"})
			require.NoError(t, err)
			assert.Equal(t, []int{1, 1, 1, 0, 0}, counts)
			if b.name == "Redis" {
				methods, clients := map[string]string{}, 0
				for presence, err := range inspector.Scan(t.Context()) {
					require.NoError(t, err)
					if presence.Carries == bus.CarriesGrants || presence.Method == "Feed" {
						methods[presence.Method] = presence.Service
					}
					if presence.Carries == bus.CarriesResponses {
						clients++
					}
				}
				for _, method := range []string{"Best", "Queue", "Flow", "Feed"} {
					assert.Equal(t, "Peer", methods[method], method)
				}
				assert.Equal(t, 2, clients, "the client uses two services")
			}
			// The psrpc peers must still work.
			answer, err := client.call(t.Context(), "Queue", nil, "hi")
			require.NoError(t, err)
			assert.Equal(t, "a hi", answer)
			assert.Empty(t, psrpcLog.take(), "lines that psrpc has logged")
		})
	}
}
