package fleet

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// apiVersion is the version of the control service's protocol.
	apiVersion = 1
	// maxAnswer is the approximate maximum size of an answer in bytes. It is half of the default
	// max_payload of a NATS server.
	maxAnswer = 512 << 10
)

// software names the library and its version in the answers of servers.
var software = "dynpsrpc v" + dynamic.Version + " " + runtime.Version()

// Server returns the server's answer to a question about the given parts. It does not call the
// function passed to [WithAuthorize].
func (s *Status) Server(ctx context.Context, parts ...Part) *Server {
	return s.answer(ctx, &queryRequest{Parts: parts})
}

// query answers a question about the server if the client may ask.
func (s *Status) query(ctx context.Context, request *queryRequest) (*Server, error) {
	if err := s.authorize(ctx, VerbQuery); err != nil {
		return nil, err
	}
	if request.asksServices() {
		// The client may immediately ask for the descriptors of a digest in the answer, so the
		// scopes of all services must be registered before the answer is sent.
		s.awaitScopes(ctx)
	}
	return s.answer(ctx, request), nil
}

// asksServices reports whether the answer contains the services of the server.
func (r *queryRequest) asksServices() bool {
	return slices.ContainsFunc(r.Parts, func(part Part) bool {
		return part == PartServices || part == PartStats || part == PartTopics
	})
}

// answer answers a question about the server.
func (s *Status) answer(ctx context.Context, request *queryRequest) *Server {
	o := &s.options
	state, since := s.state()
	answer := &Server{
		ID: s.server.ID(), Now: time.Now(), Started: s.started, API: apiVersion, Software: software,
		App: o.app, AppVersion: o.appVersion, Labels: maps.Clone(o.labels), State: state, StateSince: since,
	}
	asked := func(part Part) bool { return slices.Contains(request.Parts, part) }
	if request.asksServices() {
		q := serviceQuestion{
			status: s, stats: asked(PartStats), topics: asked(PartTopics), after: request.TopicsAfter,
			maxTopics: int(min(request.MaxTopics, maxTopics)), left: maxAnswer,
		}
		if q.maxTopics == 0 {
			q.maxTopics = defaultTopics
		}
		answer.Services, answer.Truncated = q.answer(request.Services)
	}
	if asked(PartHealth) {
		answer.Health = s.health.current()
	}
	if asked(PartBus) {
		answer.Bus = describeBus(ctx, s.server.Bus(), s.options.bounds.roundTrip)
	}
	if asked(PartRuntime) {
		answer.Runtime = describeRuntime()
	}
	if asked(PartPlugins) {
		answer.Plugins = s.plugins()
	}
	return answer
}

// describe returns the descriptors of a service. The topic of the request is the digest.
func (s *Status) describe(ctx context.Context, request *describeRequest) (*describeResponse, error) {
	if err := s.authorize(ctx, VerbDescribe); err != nil {
		return nil, err
	}
	info, _ := dynamic.RequestInfoFromContext(ctx)
	asked := strings.Join(info.Topic, "")
	for _, service := range s.server.Services() {
		if s.services.digest(service).String() == asked {
			return packFiles(service.Descriptor(), request.Comments)
		}
	}
	return nil, dynamic.Unprocessed(errors.NewErrorf(errors.NotFound,
		"server %s has no service with digest %s any more", s.server.ID(), asked))
}

// plugins returns the plugins of the program.
func (s *Status) plugins() []Plugin {
	if s.options.plugins == nil {
		return nil
	}
	plugins := slices.Clone(s.options.plugins())
	for i := range plugins {
		plugins[i] = s.toldPlugin(plugins[i])
	}
	return plugins
}

// toldPlugin returns the description of a plugin for clients. It shortens the error text, or
// removes it unless WithErrorTexts is used.
func (s *Status) toldPlugin(plugin Plugin) Plugin {
	plugin.Error = shorten(plugin.Error)
	if !s.options.errorTexts {
		plugin.Error = ""
	}
	return plugin
}

// serviceQuestion is a question about the services of a server.
type serviceQuestion struct {
	status        *Status
	stats, topics bool
	maxTopics     int
	// after is the topic after which the answer begins. Its parts are joined by "|".
	after string
	// left is the number of bytes that may still be added to the answer.
	left int
	// truncated reports whether something was left out because the answer would be too large.
	truncated bool
}

// answer returns the services with these names on the bus, or all services if names is empty.
// Because the size of the answer is limited, it adds what matters most first: the services and
// methods, then the counters, then the topics.
func (q *serviceQuestion) answer(names []string) (services []Service, truncated bool) {
	var told []*dynamic.Registration
	for _, r := range q.status.server.Registrations() {
		if wireName := r.Service().WireName(); len(names) > 0 && !slices.Contains(names, wireName) {
			continue
		}
		if service := q.service(r); q.add(len(service.Name) + len(service.WireName) + 32) {
			services = append(services, service)
			told = append(told, r)
		}
	}
	for i, r := range told {
		q.addMethods(r, &services[i])
	}
	for i, r := range told {
		q.addStats(r, &services[i])
	}
	for i, r := range told {
		q.addTopics(r, &services[i])
	}
	return services, q.truncated
}

// add reserves a number of bytes in the answer. It returns false if the answer would be too large.
func (q *serviceQuestion) add(size int) bool {
	if size > q.left {
		q.truncated = true
		return false
	}
	q.left -= size
	return true
}

// service returns a service without its methods.
func (q *serviceQuestion) service(r *dynamic.Registration) Service {
	service := r.Service()
	return Service{
		Name: string(service.Name()), WireName: service.WireName(), Digest: q.status.services.digest(service),
	}
}

// addMethods adds the methods of a registration to a service, without counters and topics.
func (q *serviceQuestion) addMethods(r *dynamic.Registration, service *Service) {
	for _, served := range r.Methods() {
		if !q.add(len(served.Name()) + len(served.WireName()) + 24) {
			return
		}
		service.Methods = append(service.Methods, Method{
			Name: served.Name(), WireName: served.WireName(), Kind: served.Kind(), Routing: served.Routing(),
			RequireClaim: served.RequireClaim(), TopicParams: served.TopicParams(),
			Unimplemented: served.Unimplemented, MaxConcurrent: uint32(max(served.MaxConcurrent, 0)), //nolint:gosec // a limit
		})
	}
}

// addStats adds the counters to the methods of a service, if they were asked for.
func (q *serviceQuestion) addStats(r *dynamic.Registration, service *Service) {
	for i := range service.Methods {
		method := &service.Methods[i]
		served, ok := r.Service().Method(method.Name)
		if !q.stats || !ok {
			return
		}
		if stats := q.status.counters.of(served).stats(q.status.options.errorTexts); q.add(stats.size()) {
			method.Stats = stats
		}
	}
}

// addTopics adds the numbers of topics to the methods of a service, and the topics if they were asked
// for.
func (q *serviceQuestion) addTopics(r *dynamic.Registration, service *Service) {
	pages := q.topicPages(r)
	for i := range service.Methods {
		method := &service.Methods[i]
		page := pages[method.Name]
		if page == nil {
			continue
		}
		method.TopicCount = page.count
		if q.topics && q.add(page.size()) {
			method.Topics = page.topics
		}
	}
}

// topicPages returns the topics that the answer contains for each method of a registration. The
// keys are the names of the methods.
func (q *serviceQuestion) topicPages(r *dynamic.Registration) map[string]*topicPage {
	pages := map[string]*topicPage{}
	for method, topic := range r.Topics() {
		page := pages[method.Name()]
		if page == nil {
			page = &topicPage{}
			pages[method.Name()] = page
		}
		page.count++
		if q.topics {
			page.add(strings.Join(topic, "|"), q.after, q.maxTopics)
		}
	}
	return pages
}

// topicPage contains some of the topics of a method.
type topicPage struct {
	// count is the number of all topics.
	count uint32
	// topics contains the first topics that follow serviceQuestion.after, in sorted order.
	topics []string
}

// add adds a topic if it follows after in string order. If the page then has more than most topics,
// add drops the last one.
func (p *topicPage) add(topic, after string, most int) {
	if topic <= after {
		return
	}
	if len(p.topics) == most {
		if topic >= p.topics[most-1] {
			return
		}
		p.topics = p.topics[:most-1]
	}
	at, _ := slices.BinarySearch(p.topics, topic)
	p.topics = slices.Insert(p.topics, at, topic)
}

// size returns the approximate encoded size of the topics in bytes.
func (p *topicPage) size() (size int) {
	for _, topic := range p.topics {
		size += len(topic) + 3
	}
	return size
}

// size returns the approximate encoded size of the counters in bytes.
func (s *Stats) size() int {
	size := 120 + 5*len(s.Duration.Counts)
	for code := range maps.Keys(s.Errors) {
		size += len(code) + 12
	}
	if s.LastError != nil {
		size += len(s.LastError.Code) + len(s.LastError.Text) + 16
	}
	return size
}
