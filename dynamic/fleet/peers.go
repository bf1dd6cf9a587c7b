package fleet

import (
	"context"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// maxPeerTopics is the maximum number of topics in PeerMethod.Topics. Further topics are only
// counted.
const maxPeerTopics = 1000

// Peers describes the servers and clients of a bus, including those that cannot answer questions,
// such as the processes of psrpc.
type Peers struct {
	// Servers contains the servers that have answered, with their services, sorted by ID.
	Servers []*Server
	// Refused contains the errors of servers that have refused to answer. The keys are server IDs.
	Refused map[string]error
	// Silent is the number of servers that have received the question but have not answered it,
	// because they hang or their connection is half-open. It is [bus.Unknown] if the bus does not
	// report how many servers have received the question.
	Silent int
	// Services contains all services that are known from the answers of servers, from the scan of
	// the broker, or from [Schemas]. They are sorted by their names on the bus. The control
	// services are left out. So are services whose names cannot be part of a channel, which only a
	// faulty server reports.
	Services []*PeerService
	// ScanErr is the error of the scan of the broker's channels. It is nil if the scan succeeded or
	// if [Scan] was not used.
	ScanErr error
}

// PeerService is a service of [Peers]. A number is [bus.Unknown] if the bus does not report it. On
// Redis, the servers of a process that share a connection count as one receiver. On NATS without a
// monitor, 1 receiver means at least one.
type PeerService struct {
	// WireName is the name of the service on the bus.
	WireName string
	// Names contains the full names that servers or known schemas give to the service, sorted. More
	// than one name means that different services share the name on the bus.
	Names []string
	// Servers contains the sorted IDs of the servers that have answered.
	Servers []string
	// Silent is the number of this service's servers that have received the question but have not
	// answered it.
	Silent int
	// Receivers is the number of servers that receive requests, whether of dynpsrpc or of psrpc. If
	// it differs between methods or topics, it is the highest number.
	Receivers int
	// Dynpsrpc is the number of receivers that are dynpsrpc servers. They need not have answered,
	// because not all programs call Serve. Psrpc is the number of receivers that are psrpc servers.
	Dynpsrpc, Psrpc int
	// Methods contains the methods, sorted by their names on the bus.
	Methods []*PeerMethod
	// Clients contains the sorted IDs of the clients that were seen on the broker.
	Clients []string
	// Others contains the sorted IDs of servers that are not in Servers, but have claimed or
	// declined a request; see [Candidates]. They are servers of psrpc, or their programs do not
	// call Serve.
	Others []string
}

// PeerMethod is a method of a [PeerService].
type PeerMethod struct {
	// WireName is the name on the bus. It is empty if the broker does not reveal it, as on NATS.
	WireName string
	// Name is the name in the .proto file. It is empty unless a server has reported it or the
	// schema is known.
	Name string
	// Kind is the kind of the method. It is only meaningful if KindKnown is true.
	Kind      registry.Kind
	KindKnown bool
	// Claims reports whether a server must claim a request before it handles it.
	Claims bool
	// Receivers is the number of servers that receive requests. If it differs between topics, it is
	// the highest number.
	Receivers int
	// Topics contains up to 1000 topics that were seen on the broker, sorted. The parts of a topic
	// are joined by "|". TopicCount is the number of all topics that were seen.
	Topics     []string
	TopicCount int
	// Candidates is the result of the option [Candidates]. It is nil if the option was not used for
	// the method.
	Candidates *dynamic.CandidatesResult
}

// PeersOption configures [Fleet.Peers].
type PeersOption func(*peersOptions)

type peersOptions struct {
	scan       bool
	schemas    *registry.Registry
	query      []QueryOption
	candidates []candidatesQuestion
}

// candidatesQuestion asks the servers of a method whether they would take a request.
type candidatesQuestion struct {
	method  string
	request any
	options []dynamic.RequestOption
}

// Scan makes [Fleet.Peers] also ask the broker for all its channels. This finds topics, clients,
// and services that no server reports. Its cost for the broker grows with the number of channels;
// see [bus.Inspector].
func Scan() PeersOption { return func(o *peersOptions) { o.scan = true } }

// Schemas makes [Fleet.Peers] also look for the services of a registry. Without Schemas and [Scan],
// it finds only services that a server reports.
func Schemas(reg *registry.Registry) PeersOption {
	return func(o *peersOptions) { o.schemas = reg }
}

// PeersQuery sets options of the question to the servers, such as [Wait]. The question always asks
// for the services of the servers.
func PeersQuery(opts ...QueryOption) PeersOption {
	return func(o *peersOptions) { o.query = append(o.query, opts...) }
}

// Candidates makes [Fleet.Peers] also ask the servers of a method which of them would take a
// request. No handler runs. This finds the IDs of psrpc servers. The arguments are those of
// [dynamic.Candidates]. The method must be in the registry of the conn, and its service must be
// known: from [Schemas] or from a server. The option can be used for several methods.
func Candidates(method string, request any, opts ...dynamic.RequestOption) PeersOption {
	return func(o *peersOptions) {
		o.candidates = append(o.candidates, candidatesQuestion{method, request, opts})
	}
}

// Peers asks the servers of the bus what they serve, and asks the broker which channels have
// subscribers. It therefore also finds servers and clients that cannot answer questions. It runs no
// handler except that of the control service.
//
// If the bus is not a [bus.Inspector], the result contains only what servers report. Peers returns
// an error if the question to the servers fails as a whole, or if ctx ends. With the option
// [Candidates], it also returns the errors of [dynamic.Candidates]. For example, the code is
// failed_precondition if the servers of the method do not claim requests.
func (f *Fleet) Peers(ctx context.Context, opts ...PeersOption) (*Peers, error) {
	var o peersOptions
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	j := &peersJoin{result: &Peers{Refused: map[string]error{}, Silent: bus.Unknown}, services: map[string]*peerServiceJoin{}}
	for server, err := range f.Servers(ctx, append(slices.Clone(o.query), Parts(PartServices))...) {
		switch {
		case server == nil:
			return nil, err
		case err != nil:
			j.result.Refused[server.ID] = err
		default:
			j.addServer(server)
		}
	}
	if o.schemas != nil {
		for _, service := range o.schemas.Services() {
			j.addSchema(service)
		}
	}
	if inspector, ok := f.conn.Bus().(bus.Inspector); ok {
		if err := j.inspect(ctx, inspector, o.scan); err != nil {
			return nil, err
		}
	} else if o.scan {
		j.result.ScanErr = errors.NewErrorf(errors.Unimplemented, "the bus does not tell who listens to its channels")
	}
	for _, question := range o.candidates {
		result, err := dynamic.Candidates(ctx, f.conn, question.method, question.request, question.options...)
		if err != nil {
			return nil, err
		}
		j.addCandidates(question.method, result)
	}
	return j.finish(), nil
}

// peersJoin builds the result of Peers from the answers of the servers and of the broker.
type peersJoin struct {
	result *Peers
	// services is keyed by the names on the bus.
	services map[string]*peerServiceJoin
	// exact reports whether the bus counts the receivers of a channel. If not, it only reports
	// whether a channel has any.
	exact bool
}

// peerServiceJoin collects what is known about a service.
type peerServiceJoin struct {
	*PeerService

	names, clients, others map[string]bool
	// methods is keyed by the names on the bus.
	methods map[string]*peerMethodJoin
}

// peerMethodJoin collects what is known about a method.
type peerMethodJoin struct {
	*PeerMethod

	// queue reports whether each request goes to one server only. It is valid if KindKnown is true.
	queue, hasTopics bool
	topics           map[string]bool
}

func (j *peersJoin) service(wireName string) *peerServiceJoin {
	s := j.services[wireName]
	if s == nil {
		s = &peerServiceJoin{
			PeerService: &PeerService{
				WireName: wireName, Silent: bus.Unknown, Receivers: bus.Unknown, Dynpsrpc: bus.Unknown, Psrpc: bus.Unknown,
			},
			names: map[string]bool{}, clients: map[string]bool{}, others: map[string]bool{}, methods: map[string]*peerMethodJoin{},
		}
		j.services[wireName] = s
	}
	return s
}

func (s *peerServiceJoin) method(wireName string) *peerMethodJoin {
	m := s.methods[wireName]
	if m == nil {
		m = &peerMethodJoin{PeerMethod: &PeerMethod{WireName: wireName, Receivers: bus.Unknown}, topics: map[string]bool{}}
		s.methods[wireName] = m
	}
	return m
}

// addServer adds a server and the services that it has reported.
func (j *peersJoin) addServer(server *Server) {
	j.result.Servers = append(j.result.Servers, server)
	for _, told := range server.Services {
		if !isWireName(told.WireName) {
			continue
		}
		s := j.service(told.WireName)
		s.names[told.Name] = true
		s.Servers = append(s.Servers, server.ID)
		for _, method := range told.Methods {
			if !isWireName(method.WireName) {
				continue
			}
			m := s.method(method.WireName)
			m.Name, m.Kind, m.KindKnown, m.Claims = method.Name, method.Kind, true, method.RequireClaim
			m.queue, m.hasTopics = method.Routing == registry.RoutingQueue, len(method.TopicParams) > 0 || method.TopicCount > 0
		}
	}
}

// maxWireName is the maximum length in bytes of a name that a server may report.
const maxWireName = 256

// isWireName reports whether a name can be part of a channel. A faulty server may report any name.
// If the bus were asked about an invalid channel, it would not count the valid ones either.
func isWireName(name string) bool {
	forbidden := func(r rune) bool { return r == '*' || r == '>' || unicode.IsSpace(r) || unicode.IsControl(r) }
	return len(name) <= maxWireName && !strings.ContainsFunc(name, forbidden) && !strings.Contains("."+name+".", "..")
}

// addSchema adds a service whose schema is known.
func (j *peersJoin) addSchema(service *registry.Service) {
	s := j.service(service.WireName())
	s.names[string(service.Name())] = true
	for _, method := range service.Methods() {
		m := s.method(method.WireName())
		m.Name, m.Kind, m.KindKnown, m.Claims = method.Name(), method.Kind(), true, method.RequireClaim()
		m.queue, m.hasTopics = method.Queue(), method.Topics()
	}
}

// inspect adds the numbers of receivers and, if scan is true, all channels that the broker knows.
// It returns an error only if ctx ends.
func (j *peersJoin) inspect(ctx context.Context, inspector bus.Inspector, scan bool) error {
	if scan {
		for presence, err := range inspector.Scan(ctx) {
			if err != nil {
				j.result.ScanErr = err
				break
			}
			j.addPresence(&presence)
		}
	}
	counter, ok := inspector.(bus.ReceiverCounter)
	// After a scan, the numbers are exact on every bus. A bus that does not count receivers itself
	// scans with the broker's monitor, which counts them.
	j.exact = !ok || counter.CountsReceivers() || scan && j.result.ScanErr == nil
	var counts counts
	counts.add(queryChannel(scopeAll), func(n int) { j.result.Silent = j.silent(n, len(j.result.Servers)+len(j.result.Refused)) })
	for _, s := range j.services {
		j.count(s, &counts)
	}
	counts.run(ctx, inspector)
	if err := ctx.Err(); err != nil {
		return errors.FromContext(err)
	}
	return nil
}

// addPresence adds a channel that the scan has found. The channel has at least one receiver.
func (j *peersJoin) addPresence(presence *bus.Presence) {
	s := j.service(presence.Service)
	switch {
	case presence.ClientID != "":
		s.clients[presence.ClientID] = true
		return
	case presence.Carries == bus.CarriesCancellations:
		s.Dynpsrpc = max(s.Dynpsrpc, presence.Receivers)
		return
	case presence.Carries == bus.CarriesDiscovery, presence.Carries == bus.CarriesPresence, presence.Carries == bus.CarriesUnicast:
		return // these channels belong to no method
	}
	isMethod := presence.Carries == ""
	m := s.method(presence.Method)
	switch presence.Carries {
	case bus.CarriesRequests:
		isMethod = true
	case bus.CarriesGrants:
		m.Claims = true
	case bus.CarriesStreams:
		m.Kind, m.KindKnown = registry.KindStream, true
	}
	if !isMethod {
		return
	}
	m.Receivers = max(m.Receivers, presence.Receivers)
	if len(presence.Topic) > 0 {
		m.topics[strings.Join(presence.Topic, "|")] = true
	}
}

// count adds the channels of a service to c, so that their receivers are counted.
func (j *peersJoin) count(s *peerServiceJoin, c *counts) {
	c.add(queryChannel(serviceScope(s.WireName)), func(n int) { s.Silent = j.silent(n, len(s.Servers)) })
	c.add(wire.CancelChannel(s.WireName), func(n int) { s.Dynpsrpc = max(s.Dynpsrpc, n) })
	for _, m := range s.methods {
		if m.hasServers() && !m.hasTopics {
			c.add(wire.RequestChannel(s.WireName, m.WireName, nil, m.queue), func(n int) { m.Receivers = max(m.Receivers, n) })
		}
	}
}

// addCandidates adds the result of the option Candidates for a method, which is given by its full
// name. If the service is not known, the result is dropped.
func (j *peersJoin) addCandidates(method string, result *dynamic.CandidatesResult) {
	service, name, _ := strings.Cut(method, "/")
	for _, s := range j.services {
		if !s.names[service] {
			continue
		}
		for _, m := range s.methods {
			if m.Name == name {
				m.Candidates = result
			}
		}
		for _, candidate := range result.Candidates {
			if !slices.Contains(s.Servers, candidate.ServerID) {
				s.others[candidate.ServerID] = true
			}
		}
	}
}

// silent returns how many of the receivers of a question have not answered. Several servers may
// count as one receiver, so there may be more answers than receivers.
func (j *peersJoin) silent(receivers, answers int) int {
	if receivers == bus.Unknown || receivers > 0 && !j.exact {
		return bus.Unknown
	}
	return max(receivers-answers, 0)
}

// finish returns the result.
func (j *peersJoin) finish() *Peers {
	slices.SortFunc(j.result.Servers, func(a, b *Server) int { return strings.Compare(a.ID, b.ID) })
	for _, name := range slices.Sorted(maps.Keys(j.services)) {
		if name != fleetService().WireName() && name != adminService().WireName() {
			j.result.Services = append(j.result.Services, j.services[name].finish(j.exact))
		}
	}
	return j.result
}

func (s *peerServiceJoin) finish(exact bool) *PeerService {
	slices.Sort(s.Servers)
	s.Names = slices.Sorted(maps.Keys(s.names))
	s.Clients = slices.Sorted(maps.Keys(s.clients))
	s.Others = slices.Sorted(maps.Keys(s.others))
	for _, name := range slices.Sorted(maps.Keys(s.methods)) {
		m := s.methods[name]
		if m.hasServers() || !s.hasKnownServers() {
			s.Receivers = max(s.Receivers, m.Receivers)
		}
		m.TopicCount = len(m.topics)
		m.Topics = slices.Sorted(maps.Keys(m.topics))
		m.Topics = m.Topics[:min(len(m.Topics), maxPeerTopics)]
		s.Methods = append(s.Methods, m.PeerMethod)
	}
	if s.Receivers != bus.Unknown && s.Dynpsrpc != bus.Unknown && (exact || s.Receivers == 0) {
		s.Psrpc = max(s.Receivers-s.Dynpsrpc, 0)
	}
	return s.PeerService
}

// hasServers reports whether the receivers of the method's requests are known to be servers. For a
// subscription method, it returns false: the receivers of its updates are clients.
func (m *peerMethodJoin) hasServers() bool {
	return m.WireName != "" && (m.Claims || m.KindKnown) && m.Kind != registry.KindSubscription
}

// hasKnownServers reports whether hasServers is true for a method of the service.
func (s *peerServiceJoin) hasKnownServers() bool {
	for _, m := range s.methods {
		if m.hasServers() {
			return true
		}
	}
	return false
}

// queryChannel returns the channel on which the servers of a scope receive questions.
func queryChannel(scope string) wire.Channel {
	return wire.RequestChannel(fleetService().WireName(), "Query", []string{scope}, false)
}

// counts is a list of channels whose receivers are counted together.
type counts struct {
	channels []bus.Channel
	counted  []func(receivers int)
}

// add adds a channel. run calls counted with the number of its receivers.
func (c *counts) add(channel wire.Channel, counted func(receivers int)) {
	c.channels = append(c.channels, bus.Channel(channel))
	c.counted = append(c.counted, counted)
}

// maxCount is the maximum number of channels in one question to the broker.
const maxCount = 1000

// run asks the bus for the numbers of receivers. Numbers that the bus does not know remain
// [bus.Unknown].
func (c *counts) run(ctx context.Context, inspector bus.Inspector) {
	for start := 0; start < len(c.channels); start += maxCount {
		channels := c.channels[start:min(start+maxCount, len(c.channels))]
		receivers, err := inspector.Count(ctx, channels...)
		if err != nil {
			return
		}
		for i, n := range receivers {
			c.counted[start+i](n)
		}
	}
}
