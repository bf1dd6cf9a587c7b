package dynamic

import (
	"log/slog"
	"sync/atomic"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// namesakes warns of servers of another service that has the same name on the bus. By default, this
// name is the name of the service without its package. media.v1.Worker and media.v2.Worker, for
// example, are both named Worker.
type namesakes struct {
	// service is the service of this server.
	service *registry.Service
	logger  *slog.Logger
	// warned reports whether the warning has been logged.
	warned atomic.Bool
}

// check logs a warning if presence comes from a server of another service. It logs only one,
// because servers announce themselves often.
func (n *namesakes) check(presence *wire.Presence) {
	if len(presence.Service) == 0 || string(presence.Service) == string(n.service.Name()) || n.warned.Swap(true) {
		return
	}
	n.logger.Warn("dynpsrpc: two services have the same name on the bus, so that servers of one receive requests for the other: "+
		"give one of them another name with WithWireName",
		slog.String("name", n.service.WireName()), slog.String("service", string(n.service.Name())),
		slog.String("other_service", string(presence.Service)), slog.String("server", string(presence.ServerID)))
}
