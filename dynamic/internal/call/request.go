package call

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/quiettime"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// Request is the request of one call, or a request that opens a stream. The engine does not modify
// it.
type Request struct {
	// Body is the message. It is not used for streams.
	Body     wire.Body
	Metadata map[string]string
	// Timeout is the timeout of the call. If it is zero, the settings of the engine apply; see
	// [Engine.Bounds].
	Timeout time.Duration
	// Selection controls how a server is selected. If it is nil, the settings of the engine apply.
	// It is not used for multi calls.
	Selection *Selection
	// Expected is the number of responses after which a multi call ends. If it is zero, there is no
	// such number.
	Expected int
	// QuietTime determines how long a multi call waits for a further response after each response.
	// If it is nil, the call waits until all servers have answered. Otherwise, the call does not
	// discover the servers.
	QuietTime quiettime.Func
}

// Selection controls how the server for a request is selected.
type Selection struct {
	selection.Opts

	// Candidates is the number of servers that are asked for a claim. If it is zero, all servers
	// are asked.
	Candidates int
}

// minUnicastTimeout is the shortest AffinityTimeout with which a request may be sent to one server
// only. Within the timeout, the server must respond or announce that its handler takes longer. A
// shorter timeout would leave too little time for the announcement.
const minUnicastTimeout = 100 * time.Millisecond

// acceptsAnyServer reports whether the request may be sent to any server that is willing to handle
// it.
func (s *Selection) acceptsAnyServer() bool {
	hasTime := s.AffinityTimeout <= 0 || s.AffinityTimeout >= minUnicastTimeout
	return s.AcceptFirstAvailable && s.MinimumAffinity <= 0 && s.Candidates <= 0 && hasTime
}

// Outcome says whether a server was selected for a request and, if not, why.
type Outcome uint8

const (
	// NoOutcome means that the request was not sent, that its method requires no claims, or that
	// the call has ended for another reason, such as a cancellation.
	NoOutcome Outcome = iota
	// Granted means that a server was selected.
	Granted
	// Skipped means that a server has handled the request without waiting until it was selected.
	Skipped
	// TimedOut means that no server has claimed the request in time, or that there is no server.
	TimedOut
	// Declined means that no claim was acceptable.
	Declined
)

// Ending describes how a call has ended.
type Ending struct {
	// Facts are the facts about the call. ServerID is the server that has answered. If none has
	// answered, it is the server that was selected. Reason is empty unless the engine itself made
	// the error.
	Facts errors.CallFacts
	// Outcome says whether a server was selected. Server is the server that was selected or has
	// answered, or empty if there is none. Wait is the time from the publication of the request
	// until the outcome was known; it is 0 for Skipped.
	Outcome Outcome
	Server  string
	Wait    time.Duration
}
