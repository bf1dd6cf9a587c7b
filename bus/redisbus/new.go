package redisbus

import (
	"context"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/bus/internal/driver"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
)

// New returns a bus that is connected to the same Redis server or cluster as client. client must be
// a *redis.Client (for a single server, or a Sentinel failover client) or a *redis.ClusterClient.
// New returns an error with code unavailable if it cannot connect. The code is unauthenticated if
// Redis refuses the credentials, and invalid_argument if client or an option is invalid.
//
// The caller keeps ownership of client and must not close it before closing the bus. The bus reads
// the client's options, but dials its own connections, as described in the package documentation.
func New(client redis.UniversalClient, opts ...Option) (*Bus, error) {
	return newBus(context.Background(), client, opts)
}

// newBus is like New, but ctx limits the first attempt to connect.
func newBus(ctx context.Context, client redis.UniversalClient, opts []Option) (*Bus, error) {
	options, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	topology, err := newTopology(client, options.sharded)
	if err != nil {
		return nil, err
	}
	credentials, err := newCredentials(client, options.Logger)
	if err != nil {
		return nil, err
	}
	b := &Bus{
		core: core{
			client: client, topology: topology, options: options, credentials: credentials,
			channels:  map[string]*channelState{},
			events:    driver.NewEvents(),
			observers: newObservers(),
			peerSigns: peerSigns{wakeup: make(chan struct{}, 1)},
		},
		receiverID:  id.NewBus(),
		done:        make(chan struct{}),
		supervisors: map[string]*supervisor{},
	}
	b.reassign = b.reassignNode
	b.ctx, b.cancel = context.WithCancelCause(ofBus(context.Background()))
	b.workers.Go(func() { b.events.Run(b.ctx.Done(), b.options.OnEvent) })
	_, sharded := topology.(shardedCluster)
	// psrpc does not use sharded pub/sub, so sharded channels have no psrpc subscribers to find.
	if !sharded {
		b.workers.Go(b.watchPeers)
	}
	// Clients with a pattern subscription do not receive the frames of sharded channels.
	if topology.reportsReceivers() && !sharded {
		b.workers.Go(b.watchObservers)
	}
	// Connect now, so that New fails if Redis is unreachable. The bus connects to other shards when
	// they are first needed.
	sup, err := b.supervisorFor(ctx, options.Prefix+anyChannel)
	if err != nil {
		b.cancel(err)
		b.workers.Wait()
		b.credentials.close()
		if isLoginRefused(err) {
			err = errors.NewErrorf(errors.Unauthenticated, "%w", err)
		}
		return nil, err
	}
	if !sharded {
		b.soleSupervisor = sup
	}
	return b, nil
}
