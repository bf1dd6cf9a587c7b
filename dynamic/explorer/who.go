package explorer

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// maxWho is the maximum time for finding out which servers would take a call.
const maxWho = 10 * time.Second

// whoRequest is the JSON of a request that asks which servers would take a call.
type whoRequest struct {
	// Method is the full name of the method. Request is the JSON of the request message. It is
	// missing for a stream.
	Method   string            `json:"method"`
	Request  json.RawMessage   `json:"request"`
	Topic    []string          `json:"topic"`
	Metadata map[string]string `json:"metadata"`
	// Timeout is in seconds. 0 stands for the default.
	Timeout float64 `json:"timeout"`
	// MinAffinity, MaxAffinity and First select a server, like the header Psrpc-Select of the
	// gateway.
	MinAffinity float32 `json:"minAffinity"`
	MaxAffinity float32 `json:"maxAffinity"`
	First       bool    `json:"first"`
}

// whoResponse says which servers would take the call. Times are in seconds after the request.
type whoResponse struct {
	Reached    *int           `json:"reached"`
	Answered   int            `json:"answered"`
	Candidates []whoCandidate `json:"candidates"`
	Declined   []whoDecline   `json:"declined"`
	Silent     *int           `json:"silent"`
	Selected   string         `json:"selected,omitempty"`
	// OneOfSeveral reports whether the bus gives each request to only one of several servers.
	OneOfSeveral bool `json:"oneOfSeveral"`
	// Complete reports whether all known servers have answered.
	Complete bool      `json:"complete"`
	Timing   whoTiming `json:"timing"`
	Took     float64   `json:"took"`
}

type whoCandidate struct {
	Server   string  `json:"server"`
	Affinity float64 `json:"affinity"`
	At       float64 `json:"at"`
}

type whoDecline struct {
	Server string  `json:"server"`
	At     float64 `json:"at"`
}

type whoTiming struct {
	Selection float64 `json:"selection"`
}

func (e *Explorer) serveWho(w http.ResponseWriter, r *http.Request) error {
	var request whoRequest
	if err := readJSON(w, r, &request); err != nil {
		return err
	}
	if !(request.Timeout >= 0 && request.Timeout <= maxWho.Seconds()) {
		return errors.NewErrorf(errors.InvalidArgument, "the timeout is %g s, want 0 to %g s", request.Timeout, maxWho.Seconds())
	}
	ctx, end, err := e.startQuestion(r)
	if err != nil {
		return err
	}
	defer end()
	var message any
	if len(request.Request) > 0 && string(request.Request) != "null" {
		message = request.Request
	}
	result, err := dynamic.Candidates(ctx, e.fleet.Conn(), request.Method, message, request.options()...)
	if err != nil {
		return err
	}
	return writeJSON(w, r, whoResponseOf(result))
}

func (q *whoRequest) options() []dynamic.RequestOption {
	var opts []dynamic.RequestOption
	if len(q.Topic) > 0 {
		opts = append(opts, dynamic.WithTopic(q.Topic...))
	}
	if len(q.Metadata) > 0 {
		opts = append(opts, dynamic.WithMetadata(q.Metadata))
	}
	if q.Timeout > 0 {
		opts = append(opts, dynamic.WithRequestTimeout(time.Duration(q.Timeout*float64(time.Second))))
	}
	if q.MinAffinity > 0 || q.MaxAffinity > 0 || q.First {
		opts = append(opts, dynamic.WithSelectionOpts(dynamic.SelectionOpts{
			MinimumAffinity: q.MinAffinity, MaximumAffinity: q.MaxAffinity, AcceptFirstAvailable: q.First,
		}))
	}
	return opts
}

func whoResponseOf(result *dynamic.CandidatesResult) *whoResponse {
	response := &whoResponse{
		Reached: known(result.Receivers), Answered: len(result.Candidates), Candidates: []whoCandidate{}, Declined: []whoDecline{},
		Silent: known(result.Silent), Selected: result.Selected, OneOfSeveral: result.OneOfSeveral, Complete: result.Complete,
		Timing: whoTiming{Selection: seconds(result.Took)}, Took: seconds(result.Took),
	}
	for _, c := range result.Candidates {
		if c.Declined {
			response.Declined = append(response.Declined, whoDecline{Server: c.ServerID, At: seconds(c.After)})
			continue
		}
		response.Candidates = append(response.Candidates, whoCandidate{
			Server: c.ServerID, Affinity: rounded(float64(c.Affinity)), At: seconds(c.After),
		})
	}
	return response
}
