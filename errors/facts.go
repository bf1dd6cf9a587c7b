package errors

import (
	"fmt"
	"strings"
	"time"
)

// Phase is a phase of a call.
type Phase string

const (
	// PhasePublish lasts from the start of the call until the bus has accepted the request.
	PhasePublish Phase = "publish"
	// PhaseSelection follows PhasePublish and lasts until one of the servers that claimed the
	// request is selected.
	PhaseSelection Phase = "selection"
	// PhaseResponse follows PhaseSelection and lasts until the response arrives.
	PhaseResponse Phase = "response"
	// PhaseStream begins once the stream is open and lasts until the stream ends.
	PhaseStream Phase = "stream"
)

// Reason describes why a call failed.
type Reason string

const (
	// ReasonNobodyListening means that no server is subscribed to the method or topic.
	ReasonNobodyListening Reason = "nobody listening"
	// ReasonMisrouted means that the broker gave the request only to processes that do not serve
	// the method, although others may serve it. No server has run the request.
	ReasonMisrouted Reason = "misrouted"
	// ReasonAllDeclined means that there are servers, but none of them sent an acceptable claim.
	ReasonAllDeclined Reason = "all declined"
	// ReasonBelowMinimum means that all claims were below the minimum affinity.
	ReasonBelowMinimum Reason = "below minimum affinity"
	// ReasonClaimedButSilent means that a server was selected but did not respond.
	ReasonClaimedButSilent Reason = "claimed but silent"
	// ReasonSilent means that no server responded to a request that needed no claim. In
	// [PhaseStream], it means that the other side did not acknowledge a message in time.
	ReasonSilent Reason = "silent"
	// ReasonNoSign means that, within the selection timeout, no server responded or announced that
	// it is handling the request. Most likely the request was lost, but a server may have run it.
	ReasonNoSign Reason = "no sign of a server"
	// ReasonBusDown means that the bus did not accept the request or lost its connection.
	ReasonBusDown Reason = "bus down"
	// ReasonTooLarge means that the request exceeds the size limit of the bus.
	ReasonTooLarge Reason = "too large"
	// ReasonRefused means that the bus or its broker refused the request, for example because the
	// caller may not publish on the method's channel. The code of the error depends on the cause.
	ReasonRefused Reason = "refused by the bus"
	// ReasonCanceled means that the caller canceled the call.
	ReasonCanceled Reason = "canceled"
	// ReasonDeadline means that the deadline of the call passed.
	ReasonDeadline Reason = "deadline exceeded"
	// ReasonClosed means that the client or the stream was closed.
	ReasonClosed Reason = "closed"
)

// CallFacts describes a call from the caller's point of view, usually one that has failed. A field
// is zero if its value is unknown or if it does not apply.
type CallFacts struct {
	// Method is the full name of the method, such as "my.pkg.MyService/NormalRPC".
	Method string
	// Topic contains the parts of the topic.
	Topic []string
	// RequestID is the ID of the request on the bus. It is set for single calls and for the opening
	// of streams.
	RequestID string
	// Phase is the phase in which the call failed. It is [PhaseResponse] if the call has succeeded.
	Phase Phase
	// Reason describes why the call failed. It is empty if the call has succeeded.
	Reason Reason
	// Claims is the number of claims received, including those that were not acceptable.
	Claims int
	// BestAffinity is the highest affinity among all claims.
	BestAffinity float32
	// Declined contains the IDs of the servers whose claims were not acceptable.
	Declined []string
	// ServerID is the ID of the server that was selected or that responded.
	ServerID string
	// PublishTime, SelectionTime and ResponseTime are the durations of the phases.
	PublishTime, SelectionTime, ResponseTime time.Duration
}

// String returns the known facts on one line, without the ID of the request, for example:
//
//	my.pkg.MyService/NormalRPC: nobody listening; publish 12µs
//
// At most 200 characters of each part of the topic are shown. The known durations of the phases
// come last. If the phase in which the call failed has no known duration, the text ends with the
// word "during" and the name of that phase. The text is meant for people and may change; programs
// should use the fields.
func (f CallFacts) String() string {
	call := joinNonEmpty(" ", f.Method, labeled("topic", topicText(f.Topic)))
	facts := joinNonEmpty("; ",
		f.reason(),
		f.claims(),
		labeled("declined", strings.Join(f.Declined, ", ")),
		labeled("server", f.ServerID),
		f.times(),
	)
	return joinNonEmpty(": ", call, facts)
}

// reason returns the reason as text. For a stream message that was not acknowledged, the text is
// more specific than the reason.
func (f CallFacts) reason() string {
	if f.Phase == PhaseStream && f.Reason == ReasonSilent {
		return "no acknowledgement: the other side does not read its messages, or it is gone"
	}
	return string(f.Reason)
}

// topicText returns the parts of a topic in quotes, so that the topics ["a.b" "c"] and ["a" "b.c"]
// have different texts. It returns "" if there is no topic.
func topicText(parts []string) string {
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf("%.200q", parts)
}

func (f CallFacts) claims() string {
	var count, best string
	switch f.Claims {
	case 0:
	case 1:
		count = "1 claim"
	default:
		count = fmt.Sprintf("%d claims", f.Claims)
	}
	if f.BestAffinity != 0 {
		best = fmt.Sprintf("best affinity %g", f.BestAffinity)
	}
	return joinNonEmpty(", ", count, best)
}

func (f CallFacts) times() string {
	var times []string
	during := f.Phase
	for _, t := range []struct {
		phase Phase
		spent time.Duration
	}{
		{PhasePublish, f.PublishTime},
		{PhaseSelection, f.SelectionTime},
		{PhaseResponse, f.ResponseTime},
	} {
		if t.spent <= 0 {
			continue
		}
		times = append(times, fmt.Sprintf("%s %s", t.phase, rounded(t.spent)))
		if t.phase == f.Phase {
			during = ""
		}
	}
	return joinNonEmpty(", ", append(times, labeled("during", string(during)))...)
}

// rounded rounds a duration to about three significant digits.
func rounded(d time.Duration) time.Duration {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond)
	case d >= time.Microsecond:
		return d.Round(time.Microsecond)
	}
	return d
}

// labeled returns the label and the value, separated by a space, or "" if the value is empty.
func labeled(label, value string) string {
	if value == "" {
		return ""
	}
	return label + " " + value
}

// joinNonEmpty joins the parts that are not empty.
func joinNonEmpty(separator string, parts ...string) string {
	var filled []string
	for _, part := range parts {
		if part != "" {
			filled = append(filled, part)
		}
	}
	return strings.Join(filled, separator)
}
