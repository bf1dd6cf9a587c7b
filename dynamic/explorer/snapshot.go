package explorer

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
)

// Limits on what pages show of a fleet. The rest is left out.
const (
	maxServerRows  = 10_000
	maxServiceRows = 2_000
	maxClientRows  = 2_000
	// maxLabel is the maximum length in bytes of a label or other text from a server.
	maxLabel = 256
)

// The kinds of rows among the servers.
const (
	kindDynpsrpc = "dynpsrpc"
	kindPsrpc    = "psrpc"
	kindSilent   = "silent"
)

// snapshot is the result of a poll. It is immutable.
type snapshot struct {
	fleetRows

	peers *fleet.Peers
	// allServices contains the services in peers, and those that only the last scan has found.
	allServices []*fleet.PeerService
	// clients contains the IDs of the clients of each service, keyed by the service's name on the
	// bus.
	clients map[string][]string
	// traffic contains the rates of each method on each server since the previous poll.
	traffic map[methodKey]traffic
	// servers contains the servers of this poll by ID. The next poll compares its counters with
	// theirs.
	servers map[string]*fleet.Server

	topologyOnce sync.Once
	topology     topology
}

// fleetRows is the fleet as a page shows it.
type fleetRows struct {
	At        time.Time    `json:"at"`
	Truncated bool         `json:"truncated,omitempty"`
	Services  []serviceRow `json:"services"`
	Servers   []*serverRow `json:"servers"`
	Clients   []clientRow  `json:"clients"`
}

// serviceRow is a service with the sums over all its servers. Numbers are null if they are not
// known.
type serviceRow struct {
	Name      string   `json:"name"`
	WireName  string   `json:"wireName"`
	Methods   int      `json:"methods"`
	Servers   int      `json:"servers"`
	Psrpc     *int     `json:"psrpc"`
	Silent    *int     `json:"silent"`
	Clients   int      `json:"clients"`
	Versions  int      `json:"versions"`
	Topics    int      `json:"topics"`
	Rate      *float64 `json:"rate"`
	ErrorRate *float64 `json:"errorRate"`
	P99       *float64 `json:"p99"`
	Active    uint64   `json:"active"`
}

// serverRow is a server, or the servers of a service whose IDs are not known.
type serverRow struct {
	ID         string            `json:"id"`
	Kind       string            `json:"kind"`
	Count      int               `json:"count,omitempty"`
	App        string            `json:"app,omitempty"`
	AppVersion string            `json:"appVersion,omitempty"`
	Software   string            `json:"software,omitempty"`
	State      string            `json:"state,omitempty"`
	Health     string            `json:"health,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Services   []string          `json:"services"`
	Rate       *float64          `json:"rate"`
	ErrorRate  *float64          `json:"errorRate"`
	P99        *float64          `json:"p99"`
	Active     uint64            `json:"active"`
	// RoundTrip and ClockOffset are rounded, so that small changes do not make a page redraw the
	// row.
	RoundTrip   float64    `json:"roundTrip,omitempty"`
	ClockOffset float64    `json:"clockOffset,omitempty"`
	Started     *time.Time `json:"started,omitempty"`
	// Problem is the error that the server has returned instead of its state.
	Problem *problem `json:"problem,omitempty"`
}

// clientRow is a client that was seen on the broker.
type clientRow struct {
	ID       string   `json:"id"`
	Services []string `json:"services"`
}

// methodKey identifies a method on a server by the server's ID and the names of service and method
// on the bus.
type methodKey struct{ server, service, method string }

// newSnapshot returns the snapshot of a poll. scanned is the result of the last poll that has
// scanned the broker for channels, or nil. previous is the snapshot of the previous poll, or nil.
func newSnapshot(at time.Time, peers, scanned *fleet.Peers, previous *snapshot) *snapshot {
	s := &snapshot{
		peers: peers, clients: map[string][]string{}, traffic: map[methodKey]traffic{}, servers: map[string]*fleet.Server{},
		fleetRows: fleetRows{At: at.UTC(), Services: []serviceRow{}, Servers: []*serverRow{}, Clients: []clientRow{}},
	}
	total := map[string]*serviceTotal{}
	for _, server := range peers.Servers {
		s.servers[server.ID] = server
		var before *fleet.Server
		if previous != nil {
			before = previous.servers[server.ID]
		}
		s.addServer(server, before, total)
	}
	for id, err := range peers.Refused {
		s.Servers = append(s.Servers, &serverRow{ID: id, Kind: kindDynpsrpc, Services: []string{}, Problem: new(problemOf(err))})
	}
	s.allServices = s.addScanned(peers, scanned)
	for _, service := range s.allServices {
		s.addService(service, total[service.WireName])
	}
	s.addClients()
	s.sortAndCut()
	return s
}

// addScanned merges the services of the last scan into those of the poll, because on NATS only
// scans find out how many servers there are. It returns the merged services, and stores the clients
// that the scan has found in s.
func (s *snapshot) addScanned(peers, scanned *fleet.Peers) []*fleet.PeerService {
	services := slices.Clone(peers.Services)
	if scanned == nil {
		return services
	}
	index := make(map[string]int, len(services))
	for i, service := range services {
		index[service.WireName] = i
	}
	for _, found := range scanned.Services {
		s.clients[found.WireName] = found.Clients
		i, polled := index[found.WireName]
		switch {
		case polled:
			services[i] = withScanned(services[i], found)
		case len(found.Servers) == 0: // if a service has servers, they have stopped since the scan
			services = append(services, found)
		}
	}
	return services
}

// withScanned returns a service of a poll, with the numbers, methods and topics that only a scan
// has found.
func withScanned(service, scanned *fleet.PeerService) *fleet.PeerService {
	merged := *service
	for _, number := range []struct {
		of    *int
		found int
	}{
		{&merged.Receivers, scanned.Receivers}, {&merged.Dynpsrpc, scanned.Dynpsrpc},
		{&merged.Psrpc, scanned.Psrpc}, {&merged.Silent, scanned.Silent},
	} {
		if *number.of == bus.Unknown {
			*number.of = number.found
		}
	}
	merged.Methods = slices.Clone(service.Methods)
	for _, found := range scanned.Methods {
		i := slices.IndexFunc(merged.Methods, func(method *fleet.PeerMethod) bool { return method.WireName == found.WireName })
		switch {
		case i < 0:
			merged.Methods = append(merged.Methods, found)
		case merged.Methods[i].TopicCount < found.TopicCount:
			method := *merged.Methods[i]
			method.Topics, method.TopicCount = found.Topics, found.TopicCount
			merged.Methods[i] = &method
		}
	}
	return &merged
}

// addServer adds the row of a server that has answered, and adds its traffic to total. before is
// its answer to the previous poll, or nil.
func (s *snapshot) addServer(server, before *fleet.Server, total map[string]*serviceTotal) {
	row := &serverRow{
		ID: server.ID, Kind: kindDynpsrpc, App: short(server.App), AppVersion: short(server.AppVersion),
		Software: short(server.Software), State: server.State.String(), Health: healthOf(server),
		Labels: shortLabels(server.Labels), Services: []string{}, Started: whenKnown(server.Started.Truncate(time.Second)),
		RoundTrip: seconds(server.RoundTrip.Round(time.Millisecond)), ClockOffset: seconds(server.ClockOffset.Round(10 * time.Millisecond)),
	}
	window := windowOf(server, before)
	var whole traffic
	for i := range server.Services {
		service := &server.Services[i]
		if fleet.IsControlService(service.WireName) {
			continue
		}
		row.Services = append(row.Services, short(service.Name))
		t := total[service.WireName]
		if t == nil {
			t = newServiceTotal()
			total[service.WireName] = t
		}
		t.versions[service.Digest] = true
		for j := range service.Methods {
			method := &service.Methods[j]
			t.methods[method.WireName] = true
			t.addTopics(method)
			one := trafficOf(method.Stats, statsBefore(before, service, method), window)
			s.traffic[methodKey{server.ID, service.WireName, method.WireName}] = one
			whole.add(one)
			t.traffic.add(one)
		}
	}
	row.Rate, row.ErrorRate, row.P99, row.Active = whole.rate(), whole.errorRate(), whole.p99(), whole.active
	s.Servers = append(s.Servers, row)
}

// addService adds the row of a service, and rows for its servers whose IDs are not known.
func (s *snapshot) addService(service *fleet.PeerService, total *serviceTotal) {
	if total == nil {
		total = newServiceTotal()
	}
	for _, method := range service.Methods {
		if method.WireName != "" {
			total.methods[method.WireName] = true
		}
		total.topics = max(total.topics, method.TopicCount)
	}
	name := service.WireName
	if len(service.Names) > 0 {
		name = service.Names[0]
	}
	row := serviceRow{
		Name: short(name), WireName: short(service.WireName), Methods: len(total.methods), Servers: len(service.Servers),
		Psrpc: known(service.Psrpc), Silent: known(service.Silent), Clients: len(s.clients[service.WireName]),
		Versions: len(total.versions), Topics: total.topics, Active: total.traffic.active,
		Rate: total.traffic.rate(), ErrorRate: total.traffic.errorRate(), P99: total.traffic.p99(),
	}
	s.Services = append(s.Services, row)
	for kind, count := range map[string]int{kindPsrpc: service.Psrpc, kindSilent: service.Silent} {
		if count > 0 {
			s.Servers = append(s.Servers, &serverRow{
				ID: kind + ":" + row.WireName, Kind: kind, Count: count, Services: []string{row.Name},
			})
		}
	}
}

// addClients adds a row for each client that was seen on the broker. A client may use several
// services.
func (s *snapshot) addClients() {
	services := map[string][]string{}
	for service, ids := range s.clients {
		if fleet.IsControlService(service) {
			continue
		}
		for _, id := range ids {
			services[id] = append(services[id], service)
		}
	}
	for id, names := range services {
		slices.Sort(names)
		s.Clients = append(s.Clients, clientRow{ID: short(id), Services: names})
	}
}

// sortAndCut sorts the rows and drops those beyond the limits.
func (s *snapshot) sortAndCut() {
	slices.SortFunc(s.Servers, func(a, b *serverRow) int { return strings.Compare(a.ID, b.ID) })
	slices.SortFunc(s.Services, func(a, b serviceRow) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.WireName, b.WireName))
	})
	slices.SortFunc(s.Clients, func(a, b clientRow) int { return strings.Compare(a.ID, b.ID) })
	s.Truncated = len(s.Servers) > maxServerRows || len(s.Services) > maxServiceRows || len(s.Clients) > maxClientRows
	s.Servers = s.Servers[:min(len(s.Servers), maxServerRows)]
	s.Services = s.Services[:min(len(s.Services), maxServiceRows)]
	s.Clients = s.Clients[:min(len(s.Clients), maxClientRows)]
}

// trafficOf returns the traffic of a method on all servers together.
func (s *snapshot) trafficOf(service, method string) (t traffic) {
	for id := range s.servers {
		if one, ok := s.traffic[methodKey{id, service, method}]; ok {
			t.add(one)
		}
	}
	return t
}

// healthOf returns the health status of a server, or "" if the server has no health checks and has
// set no status.
func healthOf(server *fleet.Server) string {
	if server.Health.Status == fleet.StatusUnknown {
		return ""
	}
	return server.Health.Status.String()
}

// known returns a pointer to n, or nil if n is bus.Unknown.
func known(n int) *int {
	if n == bus.Unknown {
		return nil
	}
	return &n
}

// short shortens a text from a peer to maxLabel bytes.
func short(text string) string {
	if len(text) <= maxLabel {
		return text
	}
	return strings.ToValidUTF8(text[:maxLabel], "") + "…"
}

func shortLabels(labels map[string]string) map[string]string {
	if len(labels) == 0 {
		return nil
	}
	cut := make(map[string]string, len(labels))
	for key, value := range labels {
		cut[short(key)] = short(value)
	}
	return cut
}

// serviceTotal contains the sums over all servers of a service.
type serviceTotal struct {
	traffic  traffic
	versions map[fleet.Digest]bool
	methods  map[string]bool
	// topics is the highest number of topics of a method on one server.
	topics int
}

func newServiceTotal() *serviceTotal {
	return &serviceTotal{versions: map[fleet.Digest]bool{}, methods: map[string]bool{}}
}

func (t *serviceTotal) addTopics(method *fleet.Method) {
	t.topics = max(t.topics, int(method.TopicCount))
}

// fleetChanges contains the differences between two snapshots. Services and Clients are nil if they
// have not changed. Empty lists mean that none are left, so the JSON must contain them.
type fleetChanges struct {
	At        time.Time    `json:"at"`
	Truncated bool         `json:"truncated,omitempty"`
	Services  []serviceRow `json:"services,omitzero"`
	Servers   []*serverRow `json:"servers,omitempty"`
	Clients   []clientRow  `json:"clients,omitzero"`
	Gone      []string     `json:"gone,omitempty"`
}

// since returns what has changed since an earlier snapshot, and whether anything has.
func (s *snapshot) since(earlier *snapshot) (changes fleetChanges, changed bool) {
	changes = fleetChanges{At: s.At, Truncated: s.Truncated}
	before := make(map[string]*serverRow, len(earlier.Servers))
	for _, row := range earlier.Servers {
		before[row.ID] = row
	}
	for _, row := range s.Servers {
		if old := before[row.ID]; old == nil || !row.equal(old) {
			changes.Servers = append(changes.Servers, row)
		}
		delete(before, row.ID)
	}
	changes.Gone = slices.Sorted(maps.Keys(before))
	if !slices.EqualFunc(s.Services, earlier.Services, serviceRow.equal) {
		changes.Services = s.Services
	}
	if !slices.EqualFunc(s.Clients, earlier.Clients, clientRow.equal) {
		changes.Clients = s.Clients
	}
	changed = len(changes.Servers) > 0 || len(changes.Gone) > 0 || changes.Services != nil || changes.Clients != nil
	return changes, changed
}

// equal reports whether a page would show two rows in the same way. It ignores the round trip,
// which differs in every poll.
func (r *serverRow) equal(other *serverRow) bool {
	return r.ID == other.ID && r.Kind == other.Kind && r.Count == other.Count && r.App == other.App &&
		r.AppVersion == other.AppVersion && r.Software == other.Software && r.State == other.State && r.Health == other.Health &&
		maps.Equal(r.Labels, other.Labels) && slices.Equal(r.Services, other.Services) &&
		equalOptional(r.Rate, other.Rate) && equalOptional(r.ErrorRate, other.ErrorRate) && equalOptional(r.P99, other.P99) &&
		r.Active == other.Active && r.ClockOffset == other.ClockOffset &&
		(r.Started == other.Started || r.Started != nil && other.Started != nil && r.Started.Equal(*other.Started)) &&
		equalOptional(r.Problem, other.Problem)
}

func (r serviceRow) equal(other serviceRow) bool {
	pointersEqual := equalOptional(r.Psrpc, other.Psrpc) && equalOptional(r.Silent, other.Silent) &&
		equalOptional(r.Rate, other.Rate) && equalOptional(r.ErrorRate, other.ErrorRate) && equalOptional(r.P99, other.P99)
	r.Psrpc, r.Silent, r.Rate, r.ErrorRate, r.P99 = other.Psrpc, other.Silent, other.Rate, other.ErrorRate, other.P99
	return pointersEqual && r == other
}

func (r clientRow) equal(other clientRow) bool {
	return r.ID == other.ID && slices.Equal(r.Services, other.Services)
}

func equalOptional[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }
