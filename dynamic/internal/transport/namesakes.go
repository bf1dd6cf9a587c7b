package transport

import (
	"log/slog"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Namesakes warns of servers of another service that has the same name on the bus. By default, this
// name is the name of the service without its package. media.v1.Worker and media.v2.Worker, for
// example, are both named Worker.
type Namesakes struct {
	// Service is the service that this server or conn uses.
	Service *registry.Service
	Logger  *slog.Logger

	// warned reports whether the warning has been logged.
	warned atomic.Bool
}

// Check logs a warning if presence comes from a server of another service. It logs at most one
// warning, because servers announce themselves often. It is safe for concurrent use.
func (n *Namesakes) Check(presence *wire.Presence) {
	if len(presence.Service) == 0 || string(presence.Service) == string(n.Service.Name()) || n.warned.Swap(true) {
		return
	}
	n.Logger.Warn("dynpsrpc: two services have the same name on the bus, so that servers of one receive requests for the other: "+
		"give one of them another name with WithWireName",
		slog.String("name", n.Service.WireName()), slog.String("service", string(n.Service.Name())),
		slog.String("other_service", string(presence.Service)), slog.String("server", string(presence.ServerID)))
}
