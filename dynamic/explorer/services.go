package explorer

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jhump/protoreflect/desc"            //nolint:staticcheck // deprecated, but the printer needs it
	"github.com/jhump/protoreflect/desc/protoprint" //nolint:staticcheck // deprecated, but used deliberately
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/schemadiff"
	"github.com/dynpsrpc/dynpsrpc/internal/similar"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const (
	// maxVersions is how many versions of a service are compared with the oldest one.
	maxVersions = 8
	// maxTopics is how many topics of a method a page shows.
	maxTopics = 100
)

// service contains what the servers, the broker and the conn's registry know about a service.
type service struct {
	explorer       *Explorer
	name, wireName string
	// versions contains the versions of the servers that have answered, the oldest first.
	versions []*version
	// peer is the service in the result of the poll. It is nil if the service is only in the
	// registry.
	peer     *fleet.PeerService
	snapshot *snapshot
}

// version is a version of a service.
type version struct {
	key     schemaKey
	servers []string
	// started is when the first server with this version has started. Versions are sorted by this
	// time.
	started time.Time
	// methods contains the methods as one of the servers describes them.
	methods []fleet.Method
}

// findService returns a service by its full name or its name on the bus.
func (e *Explorer) findService(ctx context.Context, name string) (*service, error) {
	current, err := e.poller.get(ctx)
	if err != nil {
		return nil, err
	}
	s := &service{explorer: e, snapshot: current}
	for _, row := range current.Services {
		if row.Name == name || row.WireName == name {
			s.name, s.wireName = row.Name, row.WireName
		}
	}
	if s.name == "" {
		if declared := e.declared(name); declared != nil {
			s.name, s.wireName = string(declared.Name()), declared.WireName()
		}
	}
	if s.name == "" {
		return nil, errors.NewErrorf(errors.NotFound, "no service %.200q is known%s", name, similar.Hint(name, current.serviceNames()))
	}
	s.peer = current.peerService(s.wireName)
	s.addVersions(current.peers.Servers)
	return s, nil
}

// declared looks up a service in the conn's registry by its full name or its name on the bus. It
// returns nil if there is none.
func (e *Explorer) declared(name string) *registry.Service {
	reg := e.fleet.Conn().Registry()
	if found, ok := reg.Service(name); ok {
		return found
	}
	if found, ok := reg.ServiceByWireName(name); ok {
		return found
	}
	return nil
}

func (s *snapshot) serviceNames() []string {
	names := make([]string, len(s.Services))
	for i, row := range s.Services {
		names[i] = row.Name
	}
	return names
}

// peerService returns the service that the poll or the last scan has found, or nil.
func (s *snapshot) peerService(wireName string) *fleet.PeerService {
	for _, service := range s.allServices {
		if service.WireName == wireName {
			return service
		}
	}
	return nil
}

// addVersions sets s.versions to the versions of the service that the given servers serve.
func (s *service) addVersions(servers []*fleet.Server) {
	versions := map[schemaKey]*version{}
	for _, server := range servers {
		for i := range server.Services {
			told := &server.Services[i]
			if told.WireName != s.wireName {
				continue
			}
			key := schemaKey{told.Digest, told.Name, told.WireName}
			v := versions[key]
			if v == nil {
				v = &version{key: key, started: server.Started, methods: told.Methods}
				versions[key] = v
			}
			v.servers = append(v.servers, server.ID)
			if server.Started.Before(v.started) {
				v.started = server.Started
			}
		}
	}
	s.versions = slices.SortedFunc(maps.Values(versions), func(a, b *version) int {
		return cmp.Or(a.started.Compare(b.started), strings.Compare(a.key.digest.String(), b.key.digest.String()))
	})
}

// main returns the version with the most servers, or nil if there are no versions.
func (s *service) main() *version {
	if len(s.versions) == 0 {
		return nil
	}
	most := s.versions[0]
	for _, v := range s.versions {
		if len(v.servers) >= len(most.servers) { // a tie goes to the newer version
			most = v
		}
	}
	return most
}

// schema returns the schema of the version with the most servers. If there is none, it returns the
// schema in the conn's registry.
func (s *service) schema(ctx context.Context) (*registry.Service, error) {
	var problem error
	if v := s.main(); v != nil {
		loaded, err := s.explorer.schemas.load(ctx, s.explorer.fleet, v.key)
		if err == nil {
			return loaded, nil
		}
		problem = err
	}
	if declared := s.explorer.declared(s.wireName); declared != nil {
		return declared, nil
	}
	if problem != nil {
		return nil, problem
	}
	return nil, errors.NewErrorf(errors.NotFound,
		"the schema of %s is not known: none of its servers tells it, and the registry does not contain it (psrpc explorer -p FILE adds it)", s.name)
}

// serviceInfo is a service as a page shows it.
type serviceInfo struct {
	Name     string        `json:"name"`
	WireName string        `json:"wireName"`
	Comment  string        `json:"comment,omitempty"`
	Versions []versionInfo `json:"versions"`
	Methods  []*methodInfo `json:"methods"`
	Peers    peersInfo     `json:"peers"`
	// Problem says why the schema is not known.
	Problem *problem `json:"problem,omitempty"`
}

type versionInfo struct {
	Digest  string     `json:"digest"`
	Name    string     `json:"name"`
	Servers []string   `json:"servers"`
	Started *time.Time `json:"started"`
	// Differences lists the differences from the oldest version. It is empty for the oldest version
	// itself.
	Differences []string `json:"differences"`
	// Breaking reports whether peers with this version and peers with the oldest one misunderstand
	// each other.
	Breaking bool     `json:"breaking,omitempty"`
	Problem  *problem `json:"problem,omitempty"`
}

// peersInfo counts the servers and lists the clients of a service. Numbers are null if the bus does
// not know them.
type peersInfo struct {
	Receivers *int     `json:"receivers"`
	Dynpsrpc  *int     `json:"dynpsrpc"`
	Psrpc     *int     `json:"psrpc"`
	Silent    *int     `json:"silent"`
	Clients   []string `json:"clients"`
}

type methodInfo struct {
	Name         string   `json:"name"`
	WireName     string   `json:"wireName"`
	Kind         string   `json:"kind"`
	Routing      string   `json:"routing"`
	Queue        bool     `json:"queue"`
	Topics       bool     `json:"topics"`
	TopicParams  []string `json:"topicParams"`
	TopicNames   []string `json:"topicNames"`
	TopicCount   int      `json:"topicCount"`
	Request      string   `json:"request"`
	Response     string   `json:"response"`
	RequireClaim bool     `json:"requireClaim"`
	Deprecated   bool     `json:"deprecated"`
	Idempotent   bool     `json:"idempotent"`
	Comment      string   `json:"comment,omitempty"`
	Rate         *float64 `json:"rate"`
	ErrorRate    *float64 `json:"errorRate"`
	P99          *float64 `json:"p99"`
	Active       uint64   `json:"active"`
}

func (e *Explorer) serveService(w http.ResponseWriter, r *http.Request) error {
	ctx, end, err := e.startQuestion(r)
	if err != nil {
		return err
	}
	defer end()
	s, err := e.findService(ctx, r.PathValue("name"))
	if err != nil {
		return err
	}
	return writeJSON(w, r, s.info(ctx))
}

func (s *service) info(ctx context.Context) *serviceInfo {
	info := &serviceInfo{
		Name: s.name, WireName: s.wireName, Versions: s.compareVersions(ctx), Methods: []*methodInfo{}, Peers: s.peersInfo(),
	}
	schema, err := s.schema(ctx)
	if err != nil {
		info.Problem = new(problemOf(err))
		info.Methods = s.methodsWithoutSchema()
	} else {
		info.Comment = comment(schema.Descriptor())
		for _, method := range schema.Methods() {
			info.Methods = append(info.Methods, methodInfoOf(method))
		}
	}
	for _, method := range info.Methods {
		t := s.snapshot.trafficOf(s.wireName, method.WireName)
		method.Rate, method.ErrorRate, method.P99, method.Active = t.rate(), t.errorRate(), t.p99(), t.active
	}
	s.addTopics(ctx, info.Methods)
	return info
}

// Reasons why a version is not compared with the oldest one.
var (
	errManyVersions = errors.NewErrorf(errors.ResourceExhausted, "not compared: only the first %d versions are", maxVersions)
	errNoOldest     = errors.NewErrorf(errors.Unavailable, "not compared: the oldest version cannot be loaded")
)

// compareVersions returns all versions, with their differences from the oldest one.
func (s *service) compareVersions(ctx context.Context) []versionInfo {
	infos := make([]versionInfo, len(s.versions))
	var oldest *registry.Service
	for i, v := range s.versions {
		infos[i] = versionInfo{
			Digest: v.key.digest.String(), Name: v.key.name, Servers: v.servers, Started: whenKnown(v.started), Differences: []string{},
		}
		switch {
		case len(s.versions) == 1:
			continue
		case i >= maxVersions:
			infos[i].Problem = new(problemOf(errManyVersions))
			continue
		}
		loaded, err := s.explorer.schemas.load(ctx, s.explorer.fleet, v.key)
		switch {
		case err != nil:
			infos[i].Problem = new(problemOf(err))
		case i == 0:
			oldest = loaded
		case oldest == nil:
			infos[i].Problem = new(problemOf(errNoOldest))
		default:
			for _, difference := range schemadiff.Compare(oldest.Descriptor(), loaded.Descriptor()) {
				infos[i].Differences = append(infos[i].Differences, difference.String())
				infos[i].Breaking = infos[i].Breaking || difference.Breaking
			}
		}
	}
	return infos
}

func (s *service) peersInfo() peersInfo {
	info := peersInfo{Clients: []string{}}
	if s.peer != nil {
		info.Receivers, info.Dynpsrpc = known(s.peer.Receivers), known(s.peer.Dynpsrpc)
		info.Psrpc, info.Silent = known(s.peer.Psrpc), known(s.peer.Silent)
	}
	clients := s.snapshot.clients[s.wireName]
	info.Clients = append(info.Clients, clients[:min(len(clients), maxClientRows)]...)
	return info
}

func methodInfoOf(method *registry.Method) *methodInfo {
	options, _ := method.Descriptor().Options().(*descriptorpb.MethodOptions)
	return &methodInfo{
		Name: method.Name(), WireName: method.WireName(), Kind: method.Kind().String(), Routing: method.Routing().String(),
		Queue: method.Queue(), Topics: method.Topics(), TopicParams: orEmpty(method.TopicParams()), TopicNames: []string{},
		Request: string(method.Input().FullName()), Response: string(method.Output().FullName()),
		RequireClaim: method.RequireClaim(), Deprecated: options.GetDeprecated(),
		Idempotent: hasNoSideEffects(method),
		Comment:    comment(method.Descriptor()),
	}
}

// hasNoSideEffects reports whether a method has the option idempotency_level = NO_SIDE_EFFECTS.
func hasNoSideEffects(method *registry.Method) bool {
	options, _ := method.Descriptor().Options().(*descriptorpb.MethodOptions)
	return options.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
}

// methodsWithoutSchema returns what is known about the methods if there is no schema. It uses the
// answers of servers or, if there are none, those of the broker.
func (s *service) methodsWithoutSchema() []*methodInfo {
	methods := []*methodInfo{}
	if v := s.main(); v != nil {
		for _, method := range v.methods {
			methods = append(methods, &methodInfo{
				Name: method.Name, WireName: method.WireName, Kind: method.Kind.String(), Routing: method.Routing.String(),
				Queue: method.Routing == registry.RoutingQueue, Topics: len(method.TopicParams) > 0 || method.TopicCount > 0,
				TopicParams: orEmpty(method.TopicParams), TopicNames: []string{}, RequireClaim: method.RequireClaim,
			})
		}
		return methods
	}
	if s.peer == nil {
		return methods
	}
	for _, method := range s.peer.Methods {
		if method.WireName == "" {
			continue
		}
		info := &methodInfo{
			Name: cmp.Or(method.Name, method.WireName), WireName: method.WireName, RequireClaim: method.Claims,
			TopicParams: []string{}, TopicNames: []string{}, Topics: method.TopicCount > 0,
		}
		if method.KindKnown {
			info.Kind = method.Kind.String()
		}
		methods = append(methods, info)
	}
	return methods
}

// addTopics adds the topics that the servers and the broker know. Errors of servers are ignored.
func (s *service) addTopics(ctx context.Context, methods []*methodInfo) {
	topics := map[string]map[string]bool{}
	counts := map[string]int{}
	add := func(method string, names []string, count int) {
		if topics[method] == nil {
			topics[method] = map[string]bool{}
		}
		for _, name := range names {
			topics[method][name] = true
		}
		counts[method] = max(counts[method], count)
	}
	if s.peer != nil {
		for _, method := range s.peer.Methods {
			add(method.WireName, method.Topics, method.TopicCount)
		}
	}
	hasTopics := slices.ContainsFunc(methods, func(m *methodInfo) bool { return m.Topics })
	if hasTopics && len(s.versions) > 0 {
		for server, err := range s.explorer.fleet.Servers(ctx, fleet.OfService(s.wireName), fleet.Services(s.wireName),
			fleet.Parts(fleet.PartTopics), fleet.MaxTopics(maxTopics), fleet.Wait(s.explorer.options.answerWait)) {
			if err != nil {
				continue
			}
			for i := range server.Services {
				for _, method := range server.Services[i].Methods {
					add(method.WireName, method.Topics, int(method.TopicCount))
				}
			}
		}
	}
	for _, method := range methods {
		names := slices.Sorted(maps.Keys(topics[method.WireName]))
		method.TopicCount = max(counts[method.WireName], len(names))
		method.TopicNames = append(method.TopicNames, names[:min(len(names), maxTopics)]...)
	}
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// findSchema returns the schema of the service that the path of a request names.
func (e *Explorer) findSchema(r *http.Request) (*registry.Service, error) {
	ctx, end, err := e.startQuestion(r)
	if err != nil {
		return nil, err
	}
	defer end()
	s, err := e.findService(ctx, r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return s.schema(ctx)
}

func (e *Explorer) serveSchema(w http.ResponseWriter, r *http.Request) error {
	found, err := e.findSchema(r)
	if err != nil {
		return err
	}
	return writeJSON(w, r, schemaOf(found.Descriptor()))
}

func (e *Explorer) serveDescriptors(w http.ResponseWriter, r *http.Request) error {
	found, err := e.findSchema(r)
	if err != nil {
		return err
	}
	set := &descriptorpb.FileDescriptorSet{}
	for _, file := range filesOf(found.Descriptor().ParentFile()) {
		set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
	}
	encoded, err := proto.Marshal(set)
	if err != nil {
		return errors.NewErrorf(errors.Internal, "the descriptors cannot be encoded: %w", err)
	}
	offerFile(w, string(found.Name())+".binpb")
	writeContent(w, r, "application/octet-stream", encoded)
	return nil
}

func (e *Explorer) serveProto(w http.ResponseWriter, r *http.Request) error {
	found, err := e.findSchema(r)
	if err != nil {
		return err
	}
	source, err := protoSource(found)
	if err != nil {
		return errors.NewErrorf(errors.Internal, "the schema cannot be written as a .proto file: %w", err)
	}
	offerFile(w, string(found.Name())+".proto")
	writeContent(w, r, "text/plain; charset=utf-8", []byte(source))
	return nil
}

// offerFile sets the file name under which browsers save a response.
func offerFile(w http.ResponseWriter, name string) {
	w.Header().Set("Content-Disposition", fmt.Sprintf("inline; filename=%q", name))
}

// protoSource returns the .proto file of a service, followed by the files that it imports. It
// leaves out the files of protobuf and psrpc, which every user has. For most services, one file
// remains, which can be used as it is.
func protoSource(service *registry.Service) (string, error) {
	var source strings.Builder
	for _, file := range slices.Backward(filesOf(service.Descriptor().ParentFile())) {
		if file.Package() == "google.protobuf" || file.Package() == "psrpc" {
			continue
		}
		wrapped, err := desc.WrapFile(file)
		if err != nil {
			return "", err
		}
		printer := protoprint.Printer{Compact: true, OmitComments: protoprint.CommentsDetached}
		text, err := printer.PrintProtoToString(wrapped)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&source, "// %s\n\n%s\n", file.Path(), strings.TrimSpace(signature.ReplaceAllString(text, "rpc $1($2) returns ($3)")))
		source.WriteString("\n")
	}
	return source.String(), nil
}

// signature matches the signature of a method in the output of protoprint, which has spaces inside
// the parentheses.
var signature = regexp.MustCompile(`\brpc (\w+) \( (.*?) \) returns \( (.*?) \)`)
