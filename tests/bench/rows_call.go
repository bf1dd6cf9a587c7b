package main

import (
	"fmt"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// errWrongAnswer is the error of operations that receive a wrong response.
var errWrongAnswer = errors.New("wrong answer")

// callRows returns the benchmarks that measure single calls and multi calls on a bus.
func callRows(bus string) []*row {
	first := dynamic.WithSelectionOpts(dynamic.SelectionOpts{AcceptFirstAvailable: true})
	kinds := []struct {
		name, method string
		servers      int
		callers      []int
		options      []dynamic.RequestOption
	}{
		{"queue", queue, 1, []int{1, 64}, nil},
		{"queue-noclaim", "Direct", 1, []int{1, 64}, nil},
		{"queue-3srv", queue, 3, []int{64}, nil},
		{"affinity-first", affinity, 1, []int{1, 64}, []dynamic.RequestOption{first}},
		{"affinity-first-3srv", affinity, 3, []int{1}, []dynamic.RequestOption{first}},
		{"affinity-default", affinity, 1, []int{1}, nil},
		{"affinity-default-3srv", affinity, 3, []int{1}, nil},
	}
	var rows []*row
	for _, kind := range kinds {
		for _, n := range kind.callers {
			rows = append(rows, &row{
				name: fmt.Sprintf("%s/c%d", kind.name, n), limits: callLimits(bus, n),
				open: func(s *scene) load { return s.calls(kind.method, kind.servers, n, kind.options) },
			})
		}
	}
	for _, n := range []int{1, 16} {
		expected := dynamic.WithExpectedResponses(3)
		rows = append(rows,
			&row{
				name: fmt.Sprintf("multi3/c%d", n), limits: callLimits(bus, n),
				open: func(s *scene) load { return s.multiCalls(3, n) },
			},
			&row{
				name: fmt.Sprintf("multi3-expected/c%d", n), limits: callLimits(bus, n),
				open: func(s *scene) load { return s.multiCalls(3, n, expected) },
			})
	}
	return rows
}

// calls starts the servers and returns a [load] in which n concurrent callers make single calls.
func (s *scene) calls(method string, servers, n int, options []dynamic.RequestOption) load {
	for range servers {
		s.serve(dynamic.Handlers{method: dynamic.Unary(echo)})
	}
	client := s.client(s.conn(), method)
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
		s.serve(dynamic.Handlers{"Multi": dynamic.Unary(echo)})
	}
	client := s.client(s.conn(), "Multi")
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
