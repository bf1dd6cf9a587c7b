package dynamic

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
)

const (
	// DefaultSelectionTimeout is how long a client waits for claims without SelectionOpts and
	// [WithSelectionTimeout].
	DefaultSelectionTimeout = time.Second
	// DefaultShortCircuitTimeout is how long a client waits for better claims after the first one
	// without SelectionOpts.
	DefaultShortCircuitTimeout = 200 * time.Millisecond
)

// SelectionOpts control how a client selects one of the servers that claim its request. The fields
// mean the same as in psrpc. A field that is not set is zero, it has no default.
//
// Without SelectionOpts the selection is adaptive. For a method that is not routed by affinity, the
// client takes the first server. For a method that is, the client takes the server with the highest
// affinity as soon as every server has answered: as many servers as the bus counted receivers, or
// all servers that answered the last call of this method and topic. Otherwise the client waits
// until [DefaultShortCircuitTimeout] after the first claim, and at most for the selection timeout.
// A server that does not answer in that time is no longer waited for; a server whose claim arrives
// later is waited for in the next call.
type SelectionOpts struct {
	// MinimumAffinity is the lowest affinity of an acceptable claim. It is ignored unless positive.
	MinimumAffinity float32
	// MaximumAffinity ends the selection at once with the first claim of at least this affinity. It
	// is ignored unless positive.
	MaximumAffinity float32
	// AcceptFirstAvailable ends the selection at once with the first acceptable claim, even if its
	// affinity is zero.
	AcceptFirstAvailable bool
	// AffinityTimeout limits the duration of the selection. If it is not positive, only the timeout
	// of the call does.
	AffinityTimeout time.Duration
	// ShortCircuitTimeout limits the duration of the selection after the first acceptable claim. It
	// is ignored unless positive.
	ShortCircuitTimeout time.Duration
	// SelectionFunc is called at the end of the selection with the acceptable claims, in the order
	// of their arrival; there may be none. It returns the id of a server, or an error with which
	// the call fails. Without it the client selects the highest positive affinity, and the first of
	// identical ones.
	SelectionFunc func(claims []*Claim) (serverID string, err error)
}

// Claim is a server's offer to handle a request.
type Claim struct {
	ServerID string
	// Affinity is the server's own estimate of how well it suits the request; higher is better.
	Affinity float32
}

// internal converts the options to the type of package selection.
func (o *SelectionOpts) internal() selection.Opts {
	opts := selection.Opts{
		MinimumAffinity: o.MinimumAffinity, MaximumAffinity: o.MaximumAffinity,
		AcceptFirstAvailable: o.AcceptFirstAvailable,
		AffinityTimeout:      o.AffinityTimeout, ShortCircuitTimeout: o.ShortCircuitTimeout,
	}
	if choose := o.SelectionFunc; choose != nil {
		opts.SelectionFunc = func(claims []*selection.Claim) (string, error) {
			public := make([]*Claim, len(claims))
			for i, claim := range claims {
				public[i] = (*Claim)(claim)
			}
			return choose(public)
		}
	}
	return opts
}
