package dynamic

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/call"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/selection"
)

const (
	// DefaultSelectionTimeout is how long a client waits for claims if neither [WithSelectionOpts]
	// nor [WithSelectionTimeout] is used.
	DefaultSelectionTimeout = time.Second
	// DefaultShortCircuitTimeout is how long a client waits for better claims after it has received
	// the first one. It applies if [WithSelectionOpts] is not used.
	DefaultShortCircuitTimeout = 200 * time.Millisecond
)

// SelectionOpts controls how a client selects one of the servers that claim its request. The fields
// have the same meaning as in psrpc. A field that is not set is zero; there are no other defaults.
//
// Without SelectionOpts, the client selects the first server that claims the request, unless the
// method has AFFINITY routing. For such a method, the selection is adaptive. The client selects the
// server with the highest affinity as soon as every server has answered by claiming or declining
// the request.
//
// On a bus that counts receivers, the client assumes in two cases that every server has answered.
// In the first case, as many servers have answered as there are receivers. In the second case, all
// servers that answered the previous request to the same method and topic have answered again. On
// other buses, such as NATS, the client waits for all servers that it knows. If some servers do not
// answer, the selection ends [DefaultShortCircuitTimeout] after the first claim, and no later than
// the selection timeout. The next call waits for such a server only if its claim has arrived in the
// meantime.
type SelectionOpts struct {
	// MinimumAffinity is the lowest affinity that a claim must have to be acceptable. It is ignored
	// if it is zero or negative.
	MinimumAffinity float32
	// MaximumAffinity ends the selection early. The first acceptable claim with at least this
	// affinity is selected immediately. MaximumAffinity is ignored if it is zero or negative.
	MaximumAffinity float32
	// AcceptFirstAvailable selects the first acceptable claim immediately, even if its affinity is
	// zero.
	//
	// Under the following conditions, most single calls ask only one server and save a round trip:
	//   - The method has AFFINITY routing.
	//   - Neither MinimumAffinity nor Candidates is set.
	//   - AffinityTimeout is not set or is at least 100 ms.
	//   - The client knows all servers (see Candidates).
	//   - The bus is neither the in-process bus nor a Redis Cluster without sharded pub/sub.
	//
	// Such a call is sent to a server that has claimed a request in the last 3 seconds. Among these
	// servers, the client prefers those with fewer pending calls from this client. The server
	// handles the request without a claim, or declines it if its affinity is negative. If it
	// declines or is gone, the client asks all servers. If the server does not answer, the call
	// fails with errors.ReasonNoSign after AffinityTimeout or the conn's selection timeout,
	// whichever is shorter. One call per second still asks all servers, so that the client finds
	// other willing servers. Every call in the 3 seconds after a psrpc server has claimed a request
	// also asks all servers.
	AcceptFirstAvailable bool
	// AffinityTimeout limits the duration of the selection. If it is zero or negative, only the
	// timeout of the call limits the selection.
	AffinityTimeout time.Duration
	// ShortCircuitTimeout limits how long the selection continues after the first acceptable claim.
	// It is ignored if it is zero or negative.
	ShortCircuitTimeout time.Duration
	// Candidates is the number of servers, chosen at random, that are asked for a claim. If it is
	// zero, all servers are asked. Asking fewer servers saves time in large fleets. With two
	// candidates, the load is still balanced well. Candidates is ignored if the method has at most
	// that many servers, or if the client does not know all servers. For example, psrpc servers do
	// not make themselves known. Candidates is also ignored for streams, for methods without
	// affinity routing, and on the in-process bus. If no candidate makes an acceptable claim within
	// [DefaultShortCircuitTimeout], all servers are asked.
	Candidates int
	// SelectionFunc is called at the end of the selection with the acceptable claims in order of
	// arrival. The slice may be empty. SelectionFunc returns the ID of the selected server, or an
	// error with which the call fails. If SelectionFunc is nil, the client selects the claim with
	// the highest positive affinity. If several claims have that affinity, the first one is
	// selected.
	SelectionFunc func(claims []*Claim) (serverID string, err error)
}

// Claim is a server's offer to handle a request.
type Claim struct {
	ServerID string
	// Affinity says how well the server suits the request, as estimated by the server itself.
	// Higher is better.
	Affinity float32
}

// internal returns the options in the form that package call uses.
func (o *SelectionOpts) internal() *call.Selection {
	converted := &call.Selection{
		Opts: selection.Opts{
			MinimumAffinity: o.MinimumAffinity, MaximumAffinity: o.MaximumAffinity,
			AcceptFirstAvailable: o.AcceptFirstAvailable,
			AffinityTimeout:      o.AffinityTimeout, ShortCircuitTimeout: o.ShortCircuitTimeout,
		},
		Candidates: o.Candidates,
	}
	if choose := o.SelectionFunc; choose != nil {
		converted.SelectionFunc = func(claims []*selection.Claim) (string, error) {
			var public []*Claim
			for _, claim := range claims {
				public = append(public, (*Claim)(claim))
			}
			return choose(public)
		}
	}
	return converted
}
