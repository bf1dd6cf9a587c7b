package selection

import "time"

// Opts controls how one of the servers that claim a request is selected. The fields are documented
// at dynamic.SelectionOpts.
type Opts struct {
	MinimumAffinity      float32
	MaximumAffinity      float32
	AcceptFirstAvailable bool
	AffinityTimeout      time.Duration
	ShortCircuitTimeout  time.Duration
	SelectionFunc        func(claims []*Claim) (serverID string, err error)
}

// Claim is a server's offer to handle a request.
type Claim struct {
	ServerID string
	Affinity float32
}
