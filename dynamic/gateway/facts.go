package gateway

import (
	"strconv"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// timingHeader is the header of a response that contains the durations of the call's phases in
// milliseconds; see https://www.w3.org/TR/server-timing. Browsers show it in their tools.
const timingHeader = "Server-Timing"

// setFacts sets the headers of a response that describe how the call went.
func setFacts(h headerSetter, facts *errors.CallFacts) {
	if facts.ServerID != "" {
		h.Set(ServerHeader, facts.ServerID)
	}
	if facts.RequestID != "" {
		h.Set(RequestIDHeader, facts.RequestID)
	}
	if timing := timingOf(facts); timing != "" {
		h.Set(timingHeader, timing)
	}
}

// timingOf returns the durations of the phases, such as "publish;dur=0.012, response;dur=0.345".
func timingOf(facts *errors.CallFacts) string {
	var buffer [96]byte // large enough for the durations of most calls
	timing := buffer[:0]
	for _, phase := range [...]struct {
		name string
		took time.Duration
	}{
		{"publish", facts.PublishTime}, {"selection", facts.SelectionTime}, {"response", facts.ResponseTime},
	} {
		if phase.took <= 0 {
			continue
		}
		if len(timing) > 0 {
			timing = append(timing, ", "...)
		}
		timing = append(append(timing, phase.name...), ";dur="...)
		timing = strconv.AppendFloat(timing, float64(phase.took)/float64(time.Millisecond), 'f', 3, 64)
	}
	return string(timing)
}
