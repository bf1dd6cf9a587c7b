package fleet

import (
	"sync/atomic"

	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Fleet asks the servers of a bus about their services and their state. Servers answer if their
// programs have called [Serve]. All methods are safe for concurrent use. A Fleet need not be
// closed, because it holds no resources besides its conn.
type Fleet struct {
	conn     *dynamic.Conn
	query    *client
	describe *client
	changes  *client
	// hasAsked reports whether all servers have been asked on a bus that does not count receivers;
	// see askUncounted.
	hasAsked atomic.Bool
	// times is defaultTimes, except in tests.
	times queryTimes
	// registries caches the results of Registry.
	registries registryCache
}

// client calls a method of a control service.
type client = dynamic.Client[*dynamicpb.Message, *dynamicpb.Message]

// Option configures [New]. There are no options yet.
type Option func(*fleetOptions)

type fleetOptions struct{}

// New returns a Fleet that asks through a conn. The conn's interceptors see its calls. The conn's
// registry need not contain the control service. New fails with the code [errors.InvalidArgument]
// if conn is nil, and with [errors.ErrClientClosed] if conn is closed. If the conn cannot subscribe
// to the answers, the error has the code of the bus's error.
func New(conn *dynamic.Conn, opts ...Option) (*Fleet, error) {
	if conn == nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "fleet.New: the conn is nil")
	}
	var o fleetOptions
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	f := &Fleet{conn: conn, times: defaultTimes}
	for name, field := range map[string]**client{queryMethod: &f.query, describeMethod: &f.describe, changesMethod: &f.changes} {
		c, err := newClient(conn, fleetService(), name)
		if err != nil {
			return nil, err
		}
		*field = c
	}
	return f, nil
}

// newClient returns a client for a method of a control service.
func newClient(conn *dynamic.Conn, service *registry.Service, method string) (*client, error) {
	return dynamic.NewMethodClient[*dynamicpb.Message, *dynamicpb.Message](conn, controlMethod(service, method))
}

// Conn returns the conn through which the fleet asks.
func (f *Fleet) Conn() *dynamic.Conn { return f.conn }
