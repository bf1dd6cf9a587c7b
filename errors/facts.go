package errors

import (
	"fmt"
	"strings"
	"time"
)

// Phase is the part of a call in which it failed.
type Phase string

const (
	// PhasePublish is from the start of the call until the bus has taken the request.
	PhasePublish Phase = "publish"
	// PhaseSelection is from then until a server is chosen among those that claim the request.
	PhaseSelection Phase = "selection"
	// PhaseResponse is from then until the response is there.
	PhaseResponse Phase = "response"
	// PhaseStream is the life of a stream after it was opened.
	PhaseStream Phase = "stream"
)

// Reason is why a call failed.
type Reason string

const (
	// ReasonNobodyListening means that no server is subscribed to the method, or the topic.
	ReasonNobodyListening Reason = "nobody listening"
	// ReasonAllDeclined means that servers are there, but none claimed the request, or none that is acceptable.
	ReasonAllDeclined Reason = "all declined"
	// ReasonBelowMinimum means that all claims were below the minimum affinity.
	ReasonBelowMinimum Reason = "below minimum affinity"
	// ReasonClaimedButSilent means that a server was selected, but did not answer.
	ReasonClaimedButSilent Reason = "claimed but silent"
	// ReasonSilent means that no server answered, and none had to claim.
	ReasonSilent Reason = "silent"
	// ReasonBusDown means that the bus did not take the request, or lost its connection.
	ReasonBusDown Reason = "bus down"
	// ReasonTooLarge means that the request is larger than the bus can carry.
	ReasonTooLarge Reason = "too large"
	// ReasonCanceled means that the caller canceled the call.
	ReasonCanceled Reason = "canceled"
	// ReasonDeadline means that the caller's time was up.
	ReasonDeadline Reason = "deadline exceeded"
	// ReasonClosed means that the client or the stream was closed.
	ReasonClosed Reason = "closed"
)

// CallFacts is what the caller's side knows of a call that failed. A zero field is not known, or does not apply.
type CallFacts struct {
	// Method is the full name, such as "my.pkg.MyService/NormalRPC".
	Method string
	// Topic holds the parts of the topic of the call.
	Topic []string
	// Phase is where the call failed.
	Phase Phase
	// Reason is why it failed.
	Reason Reason
	// Claims is the number of claims that came, acceptable or not.
	Claims int
	// BestAffinity is the highest affinity among the claims.
	BestAffinity float32
	// Declined holds the ids of the servers whose claims were not acceptable.
	Declined []string
	// ServerID is the server that was selected, or that answered.
	ServerID string
	// PublishTime, SelectionTime and ResponseTime are the times spent in each phase.
	PublishTime, SelectionTime, ResponseTime time.Duration
}

// String returns the known facts on one line, such as
//
//	my.pkg.MyService/NormalRPC: nobody listening; publish 12µs
//
// The phase is named by its time, the last one, or after "during" if it has none. The text is for people and
// may change; use the fields to tell cases apart.
func (f CallFacts) String() string {
	call := joinNonEmpty(" ", f.Method, labeled("topic", strings.Join(f.Topic, ".")))
	facts := joinNonEmpty("; ",
		string(f.Reason),
		f.claims(),
		labeled("declined", strings.Join(f.Declined, ", ")),
		labeled("server", f.ServerID),
		f.times(),
	)
	return joinNonEmpty(": ", call, facts)
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

// rounded keeps the digits of a duration that a reader cares for.
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

// labeled returns "label value", or nothing if there is no value.
func labeled(label, value string) string {
	if value == "" {
		return ""
	}
	return label + " " + value
}

// joinNonEmpty joins those parts that are not empty.
func joinNonEmpty(separator string, parts ...string) string {
	var filled []string
	for _, part := range parts {
		if part != "" {
			filled = append(filled, part)
		}
	}
	return strings.Join(filled, separator)
}
