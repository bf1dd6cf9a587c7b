package summary

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
)

// Service combines what the servers and the broker report about a service.
type Service struct {
	// Load is the load since the start of each server.
	Load

	// WireName is the name of the service on the bus.
	WireName string
	// Methods is the number of methods. If versions differ, it is the highest number.
	Methods int
	// Topics is the number of topics for which servers are registered. A topic counts once for each
	// server.
	Topics int
	// Versions holds the versions of the service. The version with the most servers comes first.
	Versions []Version
	// Servers holds the servers that have answered, sorted by ID.
	Servers []*fleet.Server
	// Psrpc, Mute and Silent count the servers that have not answered. Psrpc counts servers of
	// psrpc, which cannot answer. Mute counts servers of dynpsrpc that cannot answer, because their
	// programs do not call fleet.Serve. Silent counts servers that can answer but have not. All
	// three are 0 if the broker does not know them.
	Psrpc, Mute, Silent int
}

// Version is a version of a service, with the number of servers that serve it.
type Version struct {
	Digest  fleet.Digest
	Servers int
}

// Services returns the services of servers, sorted by name.
func Services(servers []*fleet.Server) []Service {
	loads := make(map[string]Load)
	for _, load := range Loads(nil, servers, ByService, nil) {
		loads[load.Name] = load
	}
	found := make(map[string]*Service)
	for _, server := range servers {
		for s := range server.Services {
			told := &server.Services[s]
			service := found[told.Name]
			if service == nil {
				service = &Service{WireName: told.WireName, Load: loads[told.Name]}
				service.Name = told.Name
				found[told.Name] = service
			}
			service.add(server, told)
		}
	}
	services := make([]Service, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		service := found[name]
		slices.SortFunc(service.Versions, func(a, b Version) int {
			return cmp.Or(cmp.Compare(b.Servers, a.Servers), strings.Compare(a.Digest.String(), b.Digest.String()))
		})
		slices.SortFunc(service.Servers, func(a, b *fleet.Server) int { return strings.Compare(a.ID, b.ID) })
		services = append(services, *service)
	}
	return services
}

func (s *Service) add(server *fleet.Server, told *fleet.Service) {
	s.Servers = append(s.Servers, server)
	s.Methods = max(s.Methods, len(told.Methods))
	topics := 0 // a server registers all methods of a service for the same topics
	for m := range told.Methods {
		topics = max(topics, int(told.Methods[m].TopicCount))
	}
	s.Topics += topics
	for i := range s.Versions {
		if s.Versions[i].Digest == told.Digest {
			s.Versions[i].Servers++
			return
		}
	}
	s.Versions = append(s.Versions, Version{told.Digest, 1})
}

// WithPeers adds to services what the broker knows about them. If unknown is true, it also adds
// services for which no server has answered. If no other name of such a service is known, it is
// shown with its name on the bus.
func WithPeers(services []Service, peers *fleet.Peers, unknown bool) []Service {
	known := make(map[string]bool)
	for _, peer := range peers.Services {
		for i := range services {
			if services[i].WireName == peer.WireName {
				services[i].addPeer(peer)
				known[peer.WireName] = true
			}
		}
		if !unknown || known[peer.WireName] || peer.Receivers <= 0 && peer.Dynpsrpc <= 0 {
			continue
		}
		service := Service{WireName: peer.WireName}
		service.Name = peer.WireName
		if len(peer.Names) > 0 {
			service.Name = peer.Names[0]
		}
		for _, method := range peer.Methods {
			if method.WireName != "" {
				service.Methods++
			}
			service.Topics = max(service.Topics, method.TopicCount)
		}
		service.addPeer(peer)
		services = append(services, service)
	}
	slices.SortStableFunc(services, func(a, b Service) int { return strings.Compare(a.Name, b.Name) })
	return services
}

// Draining returns the number of servers that are draining.
func (s *Service) Draining() int {
	draining := 0
	for _, server := range s.Servers {
		if server.State == fleet.StateDraining {
			draining++
		}
	}
	return draining
}

func (s *Service) addPeer(peer *fleet.PeerService) {
	s.Psrpc, s.Silent = max(peer.Psrpc, 0), max(peer.Silent, 0)
	s.Mute = max(peer.Dynpsrpc-len(peer.Servers)-s.Silent, 0)
}
