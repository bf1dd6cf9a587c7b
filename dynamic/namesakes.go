package dynamic

import (
	"log/slog"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// namesakes warns of servers that use the name of a service on the bus for another service. The
// name has no package, so that media.v1.Worker and media.v2.Worker have the same one.
type namesakes struct {
	service *registry.Service
	logger  *slog.Logger
	// warned reports whether the warning has been logged.
	warned atomic.Bool
}

// check logs one warning if presence comes from a server of another service.
func (n *namesakes) check(presence *wire.Presence) {
	if len(presence.Service) == 0 || string(presence.Service) == string(n.service.Name()) || n.warned.Swap(true) {
		return
	}
	n.logger.Warn("dynpsrpc: two services have the same name on the bus, so that servers of one receive requests for the other: "+
		"give one of them another name with WithWireName",
		slog.String("name", n.service.WireName()), slog.String("service", string(n.service.Name())),
		slog.String("other_service", string(presence.Service)), slog.String("server", string(presence.ServerID)))
}
