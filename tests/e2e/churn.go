package e2e

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	churnCallers = 8
	churnRounds  = 3
	// churnCalls is the minimum number of calls between two changes to the servers.
	churnCalls = 20
)

// testChurn checks the results of calls that are made while servers start and stop.
func testChurn(t *testing.T, network Network) {
	for _, kind := range []string{kindQueue, kindAffinity, kindMulti} {
		t.Run("OneOfTwoLeaves/"+kind, func(t *testing.T) {
			t.Parallel()
			testOneOfTwoLeaves(t, network, kind)
		})
		t.Run("OneOfTwoDrains/"+kind, func(t *testing.T) {
			t.Parallel()
			testOneOfTwoDrains(t, network, kind)
		})
		t.Run("OneOfTwoLeavesTopic/"+kind, func(t *testing.T) {
			t.Parallel()
			testOneOfTwoLeavesTopic(t, network, kind)
		})
	}
	for _, kind := range callKinds {
		t.Run("AllLeave/"+kind, func(t *testing.T) {
			t.Parallel()
			testAllLeave(t, network, kind)
		})
	}
}

// anyAnswer returns a function that calls a method and expects one response. The call is a multi
// call if kind is kindMulti. The function returns an error if no server responds or if the response
// is an error.
func anyAnswer(t testing.TB, conn *dynamic.Conn, kind, method string, topic ...string) func() error {
	t.Helper()
	return func() error {
		if kind != kindMulti {
			_, err := dynamic.Invoke(context.Background(), conn, fullName(calls, method), nil, dynamic.WithTopic(topic...))
			return err
		}
		responses, err := dynamic.InvokeMulti(context.Background(), conn, fullName(calls, method), nil,
			dynamic.WithTopic(topic...), dynamic.WithExpectedResponses(1))
		if err != nil {
			return err
		}
		err = errors.New("no server has answered")
		for response := range responses {
			err = response.Err
		}
		return err
	}
}

// testOneOfTwoLeaves checks that no call fails when one server is shut down while another one keeps
// serving.
func testOneOfTwoLeaves(t *testing.T, network Network, kind string) {
	w := newWorld(t, network)
	newServer := func() *dynamic.Server {
		server := w.server()
		w.serve(server, calls, dynamic.Handlers{kind: shapes[0].unary()})
		return server
	}
	leaving := newServer()
	c := startCallers(t, churnCallers, anyAnswer(t, w.conn(), kind, kind))
	for range churnRounds {
		coming := newServer()
		c.wait(t, churnCalls)
		require.NoError(t, leaving.Shutdown(t.Context()))
		c.wait(t, churnCalls)
		leaving = coming
	}
	requireNoFailures(t, c)
}

// testOneOfTwoDrains is like testOneOfTwoLeaves, but the servers are drained and resumed instead of
// stopped and started.
func testOneOfTwoDrains(t *testing.T, network Network, kind string) {
	w := newWorld(t, network)
	var servers [2]*dynamic.Server
	for i := range servers {
		servers[i] = w.server()
		w.serve(servers[i], calls, dynamic.Handlers{kind: shapes[0].unary()})
	}
	require.NoError(t, servers[0].Drain(t.Context()))
	c := startCallers(t, churnCallers, anyAnswer(t, w.conn(), kind, kind))
	for round := range churnRounds {
		draining, resuming := servers[1-round%2], servers[round%2]
		c.wait(t, churnCalls)
		require.NoError(t, resuming.Resume())
		c.wait(t, churnCalls)
		require.NoError(t, draining.Drain(t.Context()))
	}
	c.wait(t, churnCalls)
	requireNoFailures(t, c)
}

// testOneOfTwoLeavesTopic is like testOneOfTwoLeaves, but the servers register and deregister a
// topic instead of starting and stopping.
func testOneOfTwoLeavesTopic(t *testing.T, network Network, kind string) {
	w, method := newWorld(t, network), kind+"Topic"
	var registrations [2]*dynamic.Registration
	for i := range registrations {
		registrations[i] = w.serve(w.server(), calls, dynamic.Handlers{method: shapes[0].unary()})
	}
	require.NoError(t, registrations[0].RegisterTopic(method, "here"))
	c := startCallers(t, churnCallers, anyAnswer(t, w.conn(), kind, method, "here"))
	for round := range churnRounds {
		leaving, coming := registrations[round%2], registrations[1-round%2]
		require.NoError(t, coming.RegisterTopic(method, "here"))
		c.wait(t, churnCalls)
		require.NoError(t, leaving.DeregisterTopic(method, "here"))
		c.wait(t, churnCalls)
	}
	requireNoFailures(t, c)
}

func requireNoFailures(t testing.TB, c *callers) {
	t.Helper()
	calls, failures := c.stop()
	if len(failures) > 0 {
		require.NoError(t, failures[0], "%d of %d calls failed", len(failures), calls)
	}
}

// testAllLeave repeatedly starts and stops the only server while calls are being made. It checks
// that calls fail only with the code Unavailable.
func testAllLeave(t *testing.T, network Network, kind string) {
	if !network.NoticesSilence {
		t.Skip("a call finds out by its timeout: see NobodyListening")
	}
	if kind == kindMulti && !network.CountsReceivers {
		t.Skip("a call to all whose servers have just left ends without an error")
	}
	w := newWorld(t, network)
	c := startCallers(t, churnCallers, anyAnswer(t, w.defaultConn(), kind, kind))
	for range churnRounds {
		server := w.server()
		w.serve(server, calls, dynamic.Handlers{kind: shapes[0].unary()})
		c.wait(t, churnCalls)
		require.NoError(t, server.Shutdown(t.Context()))
		c.wait(t, churnCallers)
	}
	calls, failures := c.stop()
	for _, err := range failures {
		requireCode(t, errors.Unavailable, err)
	}
	assert.Less(t, len(failures), calls, "some calls must have found a server")
}
