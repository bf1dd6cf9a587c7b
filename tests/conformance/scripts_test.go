package conformance_test

import (
	"context"
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// script says how dynpsrpc plays one side of a scenario, if that does not follow from the recorded
// frames. With the zero script, dynpsrpc does what the recorded peer did, and the frames and the
// outcome must be as recorded.
type script struct {
	// leftOut is the reason why dynpsrpc does not play this side. It is empty if it does.
	leftOut string
	// deviates says what dynpsrpc intentionally does differently from psrpc. The other fields then
	// describe the expected behavior.
	deviates string
	// redisOnly prevents a scenario that was recorded on Redis from also being played on NATS.
	redisOnly bool

	// drop contains the numbers of recorded frames that are neither sent nor expected.
	drop []int
	// want contains functions that change the expected content of a frame, keyed by the number of
	// the frame.
	want map[int]func(message) message
	// extra reports whether dynpsrpc may send a frame that was not recorded.
	extra func(frame) bool
	// outcome replaces the recorded outcome.
	outcome map[string]any
	// received replaces the recorded list of updates that the subscribers receive.
	received []string

	// at contains steps, keyed by the number of a recorded frame. If dynpsrpc must send the frame,
	// the step makes it do so. Otherwise, the step runs before the frame is replayed.
	at map[int]func(*play)
	// after runs after all frames have been played.
	after func(*play)

	nobody    bool // no server subscribes
	anyServer bool // any server may respond
	// unselected is set if the call must fail because no server claims it.
	unselected bool
	// exactTimes is set if the timeouts must be as recorded. They show that the default timeouts of
	// dynpsrpc are those of psrpc.
	exactTimes bool
	// defaultTimeout is set if the client must have its default timeout, because a call without a
	// timeout of its own then lasts until the deadline of its context.
	defaultTimeout bool

	options       []dynamic.RequestOption
	streamOptions []dynamic.HandlerOption
	handle        func(*play, context.Context) // runs at the start of the handler
	err           error                        // returned by the handler
}

// bySide contains the scripts of one scenario.
type bySide map[side]script

// scriptOf returns the script for one side of a scenario.
func scriptOf(s *scenario, ours side) script { return scripts[s.Name][ours] }

const (
	handMade = "the recorded peer was made by hand, and does what none of ours would"
	noServer = "no server was there"

	malformed = "message google.protobuf.StringValue cannot be decoded: string field contains invalid UTF-8"
)

var scripts = map[string]bySide{
	"normal_ok":                {client: {exactTimes: true}, server: {exactTimes: true}},
	"normal_ok_two_servers":    {server: {anyServer: true}},
	"normal_plain_error":       {server: {err: errors.New("plain failure")}},
	"normal_grpc_status_error": {server: {err: tooMany()}},
	"normal_malformed_raw_request": {
		server: {
			deviates: "the error says which message is malformed",
			want:     map[int]func(message) message{2: withErrorText(malformed)},
			outcome:  map[string]any{"handler_ran": 0},
		},
	},
	"normal_malformed_raw_response": {client: {
		deviates: "the error says which message is malformed",
		outcome:  callFailed("malformed_result", "response of scenario.Recorded/NormalRPC: "+malformed),
	}},
	"normal_error_empty_text": {server: {
		deviates: "an error without a text is sent with its code as the text, so that it stays an error",
		err:      errors.NewErrorf(errors.Internal, ""),
		want:     map[int]func(message) message{4: withErrorText("internal")},
	}},

	"intensive_score_negative_only": {client: {unselected: true}},
	"intensive_score_zero": {client: {
		deviates: "a call that selects no server tells the servers that have claimed its request",
		extra: func(f frame) bool {
			const serverID = 2
			return f.typeURL == "type.googleapis.com/internal.ClaimResponse" && f.inner.text(serverID) == ""
		},
	}},
	"selection_maximum_affinity": {client: {options: selecting(dynamic.SelectionOpts{MaximumAffinity: 0.7, AffinityTimeout: patience})}},
	"x_selection_func_no_claims": {
		client: {
			deviates: "a call for which no server was selected fails at once, not when its time is up",
			options: selecting(dynamic.SelectionOpts{
				AffinityTimeout: 100 * time.Millisecond,
				SelectionFunc:   func([]*dynamic.Claim) (string, error) { return "", nil },
			}),
			outcome: callFailed("unavailable", "no response from servers"),
		},
		server: {leftOut: noServer},
	},

	"multi_no_server": {
		client: {
			deviates: "that nobody listens is known at once, and an error", redisOnly: true, nobody: true,
			outcome: map[string]any{"client_results": []any{failed("unavailable", "no response from servers")}},
		},
		server: {leftOut: noServer},
	},
	"timeout_no_server_claim": {
		client: {deviates: "that nobody listens is known at once", redisOnly: true, nobody: true, after: atOnce},
		server: {leftOut: noServer},
	},
	"timeout_no_server_short_request_timeout": {
		client: {deviates: "that nobody listens is known at once", redisOnly: true, nobody: true, after: atOnce},
		server: {leftOut: noServer},
	},
	"timeout_no_server_noclaim": {
		client: {
			deviates: "that nobody listens is known at once, as unavailable", redisOnly: true, nobody: true,
			outcome: callFailed("unavailable", "no response from servers"),
		},
		server: {leftOut: noServer},
	},
	"timeout_slow_handler": {
		client: {at: map[int]func(*play){4: awaitCalls}},
		server: {handle: untilContextEnds},
	},
	"cancel_before_claim": {
		client: {
			deviates: "a cancelled call is canceled, in any phase",
			after:    cancelCalls, outcome: callFailed("canceled", "request canceled"),
		},
		server: {leftOut: noServer},
	},
	"cancel_after_claim": {
		client: {at: map[int]func(*play){4: func(p *play) { cancelCalls(p); awaitCalls(p) }}},
		server: {handle: notToldOfCancellation},
	},
	"cancel_noclaim": {client: {after: cancelCalls}, server: {leftOut: noServer}},

	"deadline_clamp": {client: {defaultTimeout: true, at: map[int]func(*play){
		1: callWithin(1200*time.Millisecond, "client_result", 0, dynamic.WithRequestTimeout(timeScale*9*time.Second)),
		5: callWithin(8*time.Second, "client_result_2", 4),
	}}},
	"deadline_clamp_multi": {client: {at: map[int]func(*play){
		1: callWithin(300*time.Millisecond, "", 0, dynamic.WithRequestTimeout(timeScale*9*time.Second)),
	}}},
	"deadline_already_passed": {client: {
		deviates: "a call that is too late is not sent, and says so",
		drop:     []int{1}, after: callWithin(-time.Second, "client_result", 0),
		outcome: callFailed("deadline_exceeded", "request timed out"),
	}},
	"two_calls_one_client": {client: {at: map[int]func(*play){
		1: callWithin(0, "client_result_two", 0),
		2: callWithin(0, "client_result_one", 1),
	}}},

	"stream_basic_client_close":  {client: {at: map[int]func(*play){13: closesStream(nil)}}},
	"stream_handler_returns_nil": {server: {at: map[int]func(*play){7: handlerReturns(nil)}}},
	"stream_handler_returns_error": {server: {at: map[int]func(*play){
		7: handlerReturns(errors.NewError(errors.NotFound, errors.New("room gone"), wrapperspb.String("detail"))),
	}}},
	"stream_handler_plain_error": {server: {at: map[int]func(*play){
		7: handlerReturns(status.Error(codes.NotFound, "grpc gone")),
	}}},
	"stream_server_close_error": {server: {at: map[int]func(*play){5: func(p *play) {
		p.server.onStream("", func(s servedStream) {
			cause := errors.NewErrorf(errors.ResourceExhausted, "too much")
			p.note("server_close_returned", errorOutcome(s.stream.Close(cause)))
		})
	}}}},
	"stream_client_close_error": {client: {at: map[int]func(*play){5: closesStream(io.ErrUnexpectedEOF)}}},
	"stream_server_shutdown": {server: {at: map[int]func(*play){5: func(p *play) {
		p.server.onStream("", func(servedStream) { p.server.shutdown() })
	}}}},
	"stream_context_cancelled": {client: {
		deviates: "the cause of a stream's end always has a code",
		at:       map[int]func(*play){5: func(p *play) { p.inOrder("stream", p.client.cancel) }},
		outcome:  map[string]any{"client_stream_err": coded("unknown", "context canceled")},
	}},
	"stream_context_deadline": {client: {at: map[int]func(*play){
		1: func(p *play) {
			ctx, cancel := context.WithTimeout(context.Background(), timeScale*500*time.Millisecond)
			p.Cleanup(cancel)
			p.client.open(ctx)
		},
		7: byItself,
	}}},
	"stream_open_no_server": {
		client: {
			deviates: "that nobody listens is known at once", redisOnly: true, nobody: true,
			at: map[int]func(*play){2: byItself},
		},
		server: {leftOut: noServer},
	},
	"stream_open_no_server_noclaim": {
		client: {
			deviates: "that nobody listens is known at once, as unavailable", redisOnly: true, nobody: true,
			at:      map[int]func(*play){2: byItself},
			want:    map[int]func(message) message{2: closing("unavailable", "no response from servers")},
			outcome: map[string]any{"open": failed("unavailable", "no response from servers")},
		},
		server: {leftOut: noServer},
	},
	"stream_open_cancelled": {
		client: {
			deviates: "a cancelled opening is canceled; of the two closes that psrpc may send it is always the same",
			at:       map[int]func(*play){2: cancelCalls},
			want:     map[int]func(message) message{2: closing("unknown", "context canceled")},
			outcome:  map[string]any{"open": failed("canceled", "request canceled")},
		},
		server: {leftOut: noServer},
	},
	"stream_topic_single_server": {
		client: {exactTimes: true},
		server: {exactTimes: true, at: map[int]func(*play){5: handlerReturns(nil)}},
	},
	"stream_affinity":          {client: {at: map[int]func(*play){8: closesStream(nil)}}},
	"stream_queue_two_servers": {client: {at: map[int]func(*play){6: closesStream(nil)}}},
	"stream_multi_two_servers": {client: {at: map[int]func(*play){11: closesStreamAfter(2)}}},
	"stream_malformed_message": {server: {
		deviates: "the error says which message is malformed",
		at:       map[int]func(*play){6: byItself},
		want:     map[int]func(message) message{6: closing("malformed_request", malformed)},
		outcome:  map[string]any{"server_stream_err": coded("malformed_request", malformed)},
	}},
	"stream_slow_consumer": {
		client: {at: map[int]func(*play){10: closesStream(nil)}},
		server: {
			streamOptions: []dynamic.HandlerOption{dynamic.WithStreamBuffer(1)},
			deviates:      "a message for which there is no room waits for it, as long as its sender does, and is acknowledged then",
			at:            map[int]func(*play){8: drainStream},
			extra: func(f frame) bool {
				return f.isStream(streamAck) && f.inner.text(streamRequest) == "REQ_VNqXqovfXjV6"
			},
		},
	},

	"subscription_queue_identical": {
		publisher: {
			deviates: "equal updates are made to differ, so that none is lost", redisOnly: true,
			received: []string{"same", "same", "same"},
		},
		subscriber: {redisOnly: true},
	},
	twoMethods: {
		publisher: {
			deviates: "equal updates are made to differ, so that none is lost", redisOnly: true,
			received: []string{"equal", "equal"},
		},
		subscriber: {redisOnly: true},
	},

	"x_unknown_fields_to_server":        {client: {leftOut: handMade}},
	"x_unknown_fields_to_client":        {server: {leftOut: handMade}},
	"x_unknown_fields_stream_to_server": {client: {leftOut: handMade}},
	"x_unknown_fields_stream_to_client": {server: {leftOut: handMade}},
	"x_unknown_fields_subscription":     {publisher: {leftOut: handMade}},
	"x_response_without_claim_ok": {
		client: {
			deviates: "a queue has chosen the server, whose answer needs no claim",
			outcome:  map[string]any{"client_result": map[string]any{"ok": "no claim"}},
		},
		server: {leftOut: handMade},
	},
	"x_response_without_claim_error": {server: {leftOut: handMade}},
	"x_error_response_then_claim": {
		client: {
			deviates: "a queue has chosen the server, whose answer needs no claim",
			drop:     []int{3, 4, 5}, outcome: callFailed("permission_denied", "cannot"),
		},
		server: {leftOut: handMade},
	},
	"x_response_then_claim": {
		client: {
			deviates: "a queue has chosen the server, whose answer needs no claim",
			drop:     []int{3, 4}, outcome: map[string]any{"client_result": map[string]any{"ok": "too early"}},
		},
		server: {leftOut: handMade},
	},
	"x_response_from_other_server": {server: {leftOut: handMade}},
	"x_claim_response_late_before_expiry": {
		client: {leftOut: handMade}, server: {at: map[int]func(*play){3: passTime(500 * time.Millisecond)}},
	},
	"x_claim_response_after_expiry": {
		client: {leftOut: handMade}, server: {at: map[int]func(*play){3: passTime(500 * time.Millisecond)}},
	},
	"x_claim_response_twice_at_once":   {client: {leftOut: handMade}},
	"x_claim_response_other_then_this": {client: {leftOut: handMade}},
	"x_claim_response_before_request": {
		client: {leftOut: handMade},
		// On NATS, the two frames arrive on different subscriptions. Wait until the first one has
		// arrived.
		server: {at: map[int]func(*play){2: passTime(200 * time.Millisecond)}},
	},
	"x_stream_ack_without_claim": {
		client: {
			unselected: true,
			at:         map[int]func(*play){3: byItself},
			outcome:    map[string]any{"open": failed("unavailable", "no response from servers")},
		},
		server: {leftOut: handMade},
	},
	"x_stream_ack_before_claim_response": {
		client: {at: map[int]func(*play){5: closesStream(nil)}}, server: {leftOut: handMade},
	},
	"x_stream_expiry_zero": {
		client: {
			at:      map[int]func(*play){3: byItself},
			outcome: map[string]any{"open": failed("deadline_exceeded", "request timed out")},
		},
		server: {leftOut: handMade},
	},
	"x_stream_unknown_id": {client: {leftOut: handMade}},
}
