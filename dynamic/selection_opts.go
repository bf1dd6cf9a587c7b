package dynamic

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
)

const (
	// DefaultSelectionTimeout bounds the wait for claims.
	DefaultSelectionTimeout = time.Second
	// DefaultShortCircuitTimeout bounds the wait for better claims after the first one.
	DefaultShortCircuitTimeout = 200 * time.Millisecond
)

// SelectionOpts say how a client chooses among the servers that claim its request. They have psrpc's meaning; a
// field that is left out is zero, not a default.
//
// Without SelectionOpts the selection is adaptive. Methods that are not routed by affinity take the first server.
// Of the others the client takes the one with the highest affinity as soon as every server has answered: as many
// as the bus says got the request, or all that have answered this method and topic lately. Otherwise it waits
// [DefaultShortCircuitTimeout] from the first claim on. A server that no longer answers then is forgotten, and a
// claim that comes late is remembered.
type SelectionOpts struct {
	// MinimumAffinity is the least affinity of an acceptable claim, if it is positive.
	MinimumAffinity float32
	// MaximumAffinity selects a server that claims at least this at once, if it is positive.
	MaximumAffinity float32
	// AcceptFirstAvailable selects the first acceptable claim at once, whatever its affinity.
	AcceptFirstAvailable bool
	// AffinityTimeout bounds the selection, if it is positive; otherwise the call's timeout does.
	AffinityTimeout time.Duration
	// ShortCircuitTimeout bounds the selection from the first acceptable claim on, if it is positive.
	ShortCircuitTimeout time.Duration
	// SelectionFunc chooses among the acceptable claims, of which there may be none, when the selection ends. It
	// returns the id of a server, or an error that becomes that of the call. Without it the highest affinity
	// above 0 wins, and among equals the first.
	SelectionFunc func(claims []*Claim) (serverID string, err error)
}

// Claim is a server's offer to take a request.
type Claim struct {
	ServerID string
	// Affinity is the server's own estimate of how well it suits; higher is better.
	Affinity float32
}

// internal returns the options as package selection takes them.
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
