package app

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/schema"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
)

// Fleet returns the fleet.Fleet that asks the servers of the bus. The first call creates it.
func (a *App) Fleet(ctx context.Context) (*fleet.Fleet, error) {
	if a.fleet != nil {
		return a.fleet, nil
	}
	conn, err := a.Conn(ctx)
	if err != nil {
		return nil, err
	}
	a.fleet, err = fleet.New(conn)
	return a.fleet, err
}

// Wait returns the option that sets how long a question waits for servers. Verbs use it if they
// have no flag for this time.
func (a *App) Wait() fleet.QueryOption { return fleet.Wait(a.DefaultWait) }

// fleetForSchema returns the fleet in the form that a schema.Chain needs.
func (a *App) fleetForSchema(ctx context.Context) (schema.Fleet, error) {
	f, err := a.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	return schema.FromFleet(f, a.DefaultWait), nil
}
