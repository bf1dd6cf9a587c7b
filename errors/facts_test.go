package errors_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestCallFacts_String(t *testing.T) {
	t.Parallel()
	const method = "my.pkg.MyService/NormalRPC"
	for _, test := range []struct {
		name  string
		facts errors.CallFacts
		want  string
	}{
		{"nothing", errors.CallFacts{}, ""},
		{"method", errors.CallFacts{Method: method}, method},
		{"topic alone", errors.CallFacts{Topic: []string{"a"}}, `topic ["a"]`},
		{"reason alone", errors.CallFacts{Reason: errors.ReasonBusDown}, "bus down"},
		{
			"nobody listening",
			errors.CallFacts{
				Method: method, Phase: errors.PhasePublish, Reason: errors.ReasonNobodyListening,
				PublishTime: 12345 * time.Nanosecond,
			},
			method + ": nobody listening; publish 12µs",
		},
		{
			"phase without a time",
			errors.CallFacts{Method: method, Phase: errors.PhaseSelection, Reason: errors.ReasonCanceled, PublishTime: 99},
			method + ": canceled; publish 99ns, during selection",
		},
		{
			"stream",
			errors.CallFacts{Method: method, Phase: errors.PhaseStream, Reason: errors.ReasonClosed, ServerID: "SRV_a"},
			method + ": closed; server SRV_a; during stream",
		},
		{
			"stream without an acknowledgement",
			errors.CallFacts{Method: method, Phase: errors.PhaseStream, Reason: errors.ReasonSilent},
			method + ": no acknowledgement: the other side does not read its messages, or it is gone; during stream",
		},
		{"one claim", errors.CallFacts{Claims: 1}, "1 claim"},
		{"affinity alone", errors.CallFacts{BestAffinity: -1}, "best affinity -1"},
		{
			"everything",
			errors.CallFacts{
				Method: method, Topic: []string{"eu", "west"}, Phase: errors.PhaseResponse, Reason: errors.ReasonClaimedButSilent,
				Claims: 3, BestAffinity: 0.5, Declined: []string{"SRV_a", "SRV_b"}, ServerID: "SRV_c",
				PublishTime: 999_600 * time.Nanosecond, SelectionTime: 1_234_567 * time.Nanosecond, ResponseTime: 3004567 * time.Microsecond,
			},
			method + ` topic ["eu" "west"]: ` + "claimed but silent; 3 claims, best affinity 0.5; declined SRV_a, SRV_b; server SRV_c; " +
				"publish 1ms, selection 1.23ms, response 3s",
		},
	} {
		assert.Equal(t, test.want, test.facts.String(), test.name)
	}
}

func TestWithFacts_KeepsTheError(t *testing.T) {
	t.Parallel()
	facts := errors.CallFacts{Method: "my.pkg.MyService/NormalRPC", Reason: errors.ReasonNobodyListening, PublishTime: 12 * time.Microsecond}
	const suffix = " (my.pkg.MyService/NormalRPC: nobody listening; publish 12µs)"
	coded := errors.NewError(errors.NotFound, io.EOF, wrapperspb.String("d1"))
	for _, test := range []struct {
		name    string
		err     error
		code    errors.ErrorCode
		details int
	}{
		{"sentinel", errors.ErrNoResponse, errors.Unavailable, 0},
		{"coded", coded, errors.NotFound, 1},
		{"wrapped coded", fmt.Errorf("outer: %w", coded), errors.NotFound, 1},
		{"gRPC status", status.Error(codes.Aborted, "x"), errors.Aborted, 0},
		{"plain", io.EOF, errors.Unknown, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := errors.WithFacts(test.err, facts)
			require.EqualError(t, err, test.err.Error()+suffix)
			assert.Equal(t, err.Error(), fmt.Sprintf("%+v", err))
			assert.Equal(t, test.code, err.Code())
			assert.Len(t, err.Details(), test.details)
			assert.Equal(t, test.err, err.Unwrap())
			assert.True(t, errors.Is(err, test.err))
			assert.Equal(t, err.Error(), err.GRPCStatus().Message())

			code, text, details := errors.ToWire(err)
			assert.Equal(t, test.code, code)
			assert.Equal(t, err.Error(), text)
			assert.Len(t, details, test.details)
		})
	}
}

func TestWithFacts_NothingToSay(t *testing.T) {
	t.Parallel()
	require.NoError(t, errors.WithFacts(nil, errors.CallFacts{Claims: 1}))
	err := errors.WithFacts(io.EOF, errors.CallFacts{})
	require.EqualError(t, err, "EOF")
	_, ok := errors.FactsOf(err)
	assert.True(t, ok)
}

func TestFactsOf_LooksInside(t *testing.T) {
	t.Parallel()
	facts := errors.CallFacts{Method: "S/M", Topic: []string{"t"}, Claims: 2, Declined: []string{"SRV_a"}}
	err := errors.WithFacts(errors.ErrNoResponse, facts)
	for name, err := range map[string]error{
		"itself":  err,
		"wrapped": fmt.Errorf("outer: %w", err),
		"joined":  errors.Join(io.EOF, fmt.Errorf("outer: %w", err)),
		"coded":   errors.NewError(errors.Internal, err),
	} {
		got, ok := errors.FactsOf(err)
		assert.True(t, ok, name)
		assert.Equal(t, facts, got, name)
	}
	for name, err := range map[string]error{"nil": nil, "plain": io.EOF, "coded": errors.ErrNoResponse} {
		_, ok := errors.FactsOf(err)
		assert.False(t, ok, name)
	}

	outer := errors.WithFacts(err, errors.CallFacts{Method: "S/Outer"})
	got, _ := errors.FactsOf(outer)
	assert.Equal(t, "S/Outer", got.Method)
}
