package explorer

import (
	"cmp"
	"slices"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
)

// Limits on the size of the graph. Servers and methods with the highest rates are kept.
const (
	maxServerNodes = 60
	maxMethodNodes = 100
	maxClientNodes = 60
	maxNodes       = 500
	maxEdges       = 2_000
)

// graph returns the topology. It is built on the first call.
func (s *snapshot) graph() *topology {
	s.topologyOnce.Do(func() {
		b := &topologyBuilder{snapshot: s, nodes: map[string]bool{}, edges: map[[2]string]*edge{}}
		b.topology = &topology{Nodes: []*node{}, Edges: []*edge{}}
		b.build()
		s.topology = *b.topology
	})
	return &s.topology
}

// topologyBuilder builds a topology.
type topologyBuilder struct {
	*topology

	snapshot *snapshot
	nodes    map[string]bool
	edges    map[[2]string]*edge
}

// served is a method on a server, with its traffic.
type served struct {
	server  *fleet.Server
	service *fleet.Service
	method  *fleet.Method
	traffic traffic
}

func (b *topologyBuilder) build() {
	servers := b.busiestServers()
	for _, row := range b.snapshot.Services {
		b.addNode("service", row.WireName, row.Name, "")
	}
	for _, row := range b.snapshot.Servers {
		if row.Kind != kindDynpsrpc {
			b.addNode("server", row.ID, row.ID, row.Kind)
			for _, service := range b.snapshot.Services {
				if slices.Contains(row.Services, service.Name) {
					b.addEdge("service:"+service.WireName, "server:"+row.ID, traffic{})
				}
			}
		}
	}
	for _, one := range b.busiestMethods(servers) {
		b.addServed(one)
	}
	for i, client := range b.snapshot.Clients {
		if i >= maxClientNodes {
			b.Truncated = true
			break
		}
		b.addNode("client", client.ID, client.ID, "")
		for _, service := range client.Services {
			b.addEdge("client:"+client.ID, "service:"+service, traffic{})
		}
	}
	for _, e := range b.Edges {
		if e.Rate != nil {
			*e.Rate, *e.Errors = rounded(*e.Rate), rounded(*e.Errors)
		}
	}
}

// busiestServers returns the servers with the highest rates.
func (b *topologyBuilder) busiestServers() []*fleet.Server {
	rates := map[string]float64{}
	for key, t := range b.snapshot.traffic {
		rates[key.server] += t.perSecond
	}
	servers := slices.Clone(b.snapshot.peers.Servers)
	slices.SortStableFunc(servers, func(x, y *fleet.Server) int { return cmp.Compare(rates[y.ID], rates[x.ID]) })
	if len(servers) > maxServerNodes {
		b.Truncated = true
		servers = servers[:maxServerNodes]
	}
	return servers
}

// busiestMethods returns the methods on the servers. If there are too many methods, it drops those
// with the lowest rates.
func (b *topologyBuilder) busiestMethods(servers []*fleet.Server) []served {
	var all []served
	rates := map[[2]string]float64{}
	for _, server := range servers {
		for i := range server.Services {
			service := &server.Services[i]
			if fleet.IsControlService(service.WireName) {
				continue
			}
			for j := range service.Methods {
				method := &service.Methods[j]
				if method.Unimplemented {
					continue
				}
				one := served{server, service, method, b.snapshot.traffic[methodKey{server.ID, service.WireName, method.WireName}]}
				all = append(all, one)
				rates[[2]string{service.WireName, method.WireName}] += one.traffic.perSecond
			}
		}
	}
	names := make([][2]string, 0, len(rates))
	for name := range rates {
		names = append(names, name)
	}
	slices.SortFunc(names, func(x, y [2]string) int {
		return cmp.Or(cmp.Compare(rates[y], rates[x]), cmp.Compare(x[0], y[0]), cmp.Compare(x[1], y[1]))
	})
	if len(names) <= maxMethodNodes {
		return all
	}
	b.Truncated = true
	for _, name := range names[maxMethodNodes:] {
		delete(rates, name)
	}
	return slices.DeleteFunc(all, func(one served) bool {
		_, kept := rates[[2]string{one.service.WireName, one.method.WireName}]
		return !kept
	})
}

// addServed adds a method, its server, and the topics between them.
func (b *topologyBuilder) addServed(one served) {
	name := one.service.WireName + "/" + one.method.WireName
	state := one.server.State.String()
	if one.server.Health.Status == fleet.StatusNotServing {
		state = one.server.Health.Status.String()
	}
	b.addNode("server", one.server.ID, one.server.ID, state)
	b.addNode("method", name, one.method.Name, "")
	b.addEdge("service:"+one.service.WireName, "method:"+name, one.traffic)
	if len(one.method.Topics) == 0 {
		b.addEdge("method:"+name, "server:"+one.server.ID, one.traffic)
		return
	}
	// Servers count calls by method, so the rates of topics are not known.
	for _, topic := range one.method.Topics {
		id := name + "/" + topic
		b.addNode("topic", id, topic, "")
		b.addEdge("method:"+name, "topic:"+id, traffic{})
		b.addEdge("topic:"+id, "server:"+one.server.ID, traffic{})
	}
}

// addNode adds a node, unless it already exists or there are too many.
func (b *topologyBuilder) addNode(kind, id, name, state string) {
	id = kind + ":" + id
	switch {
	case b.nodes[id]:
	case len(b.Nodes) >= maxNodes:
		b.Truncated = true
	default:
		b.nodes[id] = true
		b.Nodes = append(b.Nodes, &node{ID: id, Type: kind, Name: short(name), State: state})
	}
}

// addEdge adds traffic to the edge between two nodes. It does nothing if one of them was left out.
func (b *topologyBuilder) addEdge(from, to string, t traffic) {
	if !b.nodes[from] || !b.nodes[to] {
		return
	}
	e := b.edges[[2]string{from, to}]
	if e == nil {
		if len(b.Edges) >= maxEdges {
			b.Truncated = true
			return
		}
		e = &edge{From: from, To: to}
		b.edges[[2]string{from, to}] = e
		b.Edges = append(b.Edges, e)
	}
	if !t.known {
		return
	}
	if e.Rate == nil {
		e.Rate, e.Errors = new(0.0), new(0.0)
	}
	*e.Rate += t.perSecond
	*e.Errors += t.failedPerSecond
}
