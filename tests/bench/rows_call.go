package main

import (
	"fmt"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// errWrongAnswer is the error of an operation that has received a wrong response.
var errWrongAnswer = errors.New("wrong answer")

// callKind is a method and the way in which its calls select a server.
type callKind struct {
	method string
	// first makes the client accept the first claim.
	first bool
}

var (
	queueCall    = callKind{method: queue}
	directCall   = callKind{method: direct}
	affinityCall = callKind{method: affinity}
	firstCall    = callKind{method: affinity, first: true}
)

// callRows returns the benchmarks that measure single calls and multi calls on a bus.
func callRows(bus string) []*row {
	kinds := []struct {
		name    string
		servers int
		callers []int
		kind    callKind
		raw     string
	}{
		{"queue", 1, []int{1, 64}, queueCall, pingPong},
		{"queue-noclaim", 1, []int{1, 64}, directCall, pingPong},
		{"queue-3srv", 3, []int{64}, queueCall, pingPong},
		{"affinity-first", 1, []int{1, 64}, firstCall, pingPong},
		{"affinity-first-3srv", 3, []int{1, 64}, firstCall, claims3},
		{"affinity-default", 1, []int{1}, affinityCall, pingPong},
		{"affinity-default-3srv", 3, []int{1}, affinityCall, claims3},
	}
	var rows []*row
	for _, kind := range kinds {
		for _, n := range kind.callers {
			rows = append(rows, &row{
				name: fmt.Sprintf("%s/c%d", kind.name, n), limits: callLimits(bus, n, kind.raw),
				open:  func(s *scene) load { return s.calls(kind.kind, kind.servers, n) },
				rival: func(s *scene) load { return s.psrpcCalls(kind.kind, kind.servers, n) },
			})
		}
	}
	for _, n := range []int{1, 16} {
		expected := dynamic.WithExpectedResponses(3)
		rows = append(rows,
			&row{
				name: fmt.Sprintf("multi3/c%d", n), limits: callLimits(bus, n, answers3),
				open:  func(s *scene) load { return s.multiCalls(3, n) },
				rival: func(s *scene) load { return s.psrpcMultiCalls(3, n) },
			},
			&row{
				name: fmt.Sprintf("multi3-expected/c%d", n), limits: callLimits(bus, n, answers3),
				open: func(s *scene) load { return s.multiCalls(3, n, expected) },
			})
	}
	return rows
}

// calls starts the servers and returns a [load] in which n concurrent callers make single calls.
func (s *scene) calls(kind callKind, servers, n int) load {
	for range servers {
		s.serve(dynamic.Handlers{kind.method: dynamic.Unary(echo)})
	}
	var options []dynamic.RequestOption
	if kind.first {
		options = append(options, dynamic.WithSelectionOpts(dynamic.SelectionOpts{AcceptFirstAvailable: true}))
	}
	client := s.client(s.conn(), kind.method)
	return callers(perCaller(n, func(caller int) func() error { return s.call(client, caller, options...) }))
}

// call returns an operation that makes a single call and checks the response. caller is the number
// of the caller, which determines the text of the request.
func (s *scene) call(client *dynamic.Client[text, text], caller int, options ...dynamic.RequestOption) func() error {
	ctx, body := s.Context(), s.body(caller)
	request := wrapperspb.String(body)
	return func() error {
		response, err := client.Call(ctx, request, options...)
		if err == nil && response.GetValue() != body {
			err = errWrongAnswer
		}
		return err
	}
}

// multiCalls starts the servers and returns a [load] in which n concurrent callers make multi calls
// and read all responses.
func (s *scene) multiCalls(servers, n int, options ...dynamic.RequestOption) load {
	for range servers {
		s.serve(dynamic.Handlers{multi: dynamic.Unary(echo)})
	}
	client := s.client(s.conn(), multi)
	return callers(perCaller(n, func(caller int) func() error {
		ctx, body := s.Context(), s.body(caller)
		request := wrapperspb.String(body)
		return func() error {
			responses, err := client.CallMulti(ctx, request, options...)
			if err != nil {
				return err
			}
			right := 0
			for response := range responses {
				if response.Err != nil {
					err = response.Err
				} else if response.Result.GetValue() == body {
					right++
				}
			}
			if err == nil && right != servers {
				err = fmt.Errorf("%w: %d of %d responses", errWrongAnswer, right, servers)
			}
			return err
		}
	}))
}
