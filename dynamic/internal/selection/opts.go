package selection

import "time"

// Opts say how one server is chosen among the claims of a request. dynamic.SelectionOpts documents
// the fields.
type Opts struct {
	MinimumAffinity      float32
	MaximumAffinity      float32
	AcceptFirstAvailable bool
	AffinityTimeout      time.Duration
	ShortCircuitTimeout  time.Duration
	SelectionFunc        func(claims []*Claim) (serverID string, err error)
}

// Claim is a server's offer to take a request.
type Claim struct {
	ServerID string
	Affinity float32
}
