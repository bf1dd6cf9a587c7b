package verbs

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/human"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/mock"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/recording"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/schema"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet/tapfilter"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// serve is one run of the verb serve.
type serve struct {
	app *app.App

	stubs, from, latency, failures string
	affinity                       float32
	echo                           bool
	every                          time.Duration
	seed                           uint64
	topics                         []string
	servers                        int
	// redactor removes the secrets from the messages that are printed.
	redactor *recording.Redactor
}

func newServe(a *app.App) *cobra.Command {
	s := &serve{app: a}
	command := &cobra.Command{
		Use:   "serve [SERVICE...]",
		Short: "Serve services that nobody has implemented yet",
		Long: `serve answers every method of the services in the files given with -p or --descriptor-set, or of the
named ones, until it is interrupted. It prints each request and its answer.

Answers are generated: they suit the names of the fields and the rules of protovalidate in the schema,
and equal requests get equal answers. With --echo, the answer has the fields of the request. With
--from, the answer is that of the recorded request from which the new one differs least. With --stub,
a YAML file answers some requests:

  stubs:
    - method: shop.Orders/Get      # or any end of that name that only one method has
      when: request.id == 7        # CEL about request, metadata, topic and n; default: always
      then: {id: 7, state: PAID}   # JSON; for a stream, it may be a list of messages
      delay: 5ms±2ms
      times: 3                     # default: every time
    - method: Orders/Get
      error: not_found:no such order
    - method: Orders/Create
      then: "shop.Order{id: n, name: request.name}"   # text is CEL
    - method: Orders/Changes       # updates of a subscription
      then: {id: 7}
      every: 2s`,
		Example: `  psrpc serve -p shop.proto
  psrpc serve -p shop.proto --stub stubs.yaml --latency 5ms±2ms --error 1%:unavailable
  psrpc serve -p rooms.proto --topic eu,1 --topic us,1 --affinity 0.7
  psrpc serve --from traffic.psrpc`,
		Args: arguments(0, -1),
		RunE: func(command *cobra.Command, args []string) error { return s.run(command.Context(), args) },
	}
	flags := command.Flags()
	flags.StringVar(&s.stubs, "stub", "", "YAML file with answers")
	flags.StringVar(&s.from, "from", "", "recording with answers; it has the schema, too")
	flags.StringVar(&s.latency, "latency", "0s", "time that each answer takes, such as 5ms or 5ms±2ms")
	flags.StringVar(&s.failures, "error", "", "share of requests that fail, and how, such as 1%:unavailable")
	flags.Float32Var(&s.affinity, "affinity", 1, "affinity for each request; a negative one declines all")
	flags.Lookup("affinity").Annotations = map[string][]string{mayBeNegative: nil}
	flags.BoolVar(&s.echo, "echo", false, "answer with the fields of the request")
	flags.DurationVar(&s.every, "every", time.Second, "time between the updates of each subscription; 0 publishes none")
	flags.Uint64Var(&s.seed, "seed", 0, "number that selects the generated answers")
	flags.StringArrayVarP(&s.topics, "topic", "t", nil, "topic of the methods that have topics with so many parts; may be repeated")
	flags.IntVar(&s.servers, "servers", 1, "number of servers")
	a.AddYes(command)
	return command
}

func (s *serve) run(ctx context.Context, names []string) error {
	if err := s.app.CheckWritable("serve"); err != nil {
		return err
	}
	if s.servers < 1 {
		return app.Usagef("--servers must be at least 1")
	}
	settings, err := s.app.Settings()
	if err != nil {
		return err
	}
	s.redactor = newRedactor(settings)
	config, err := s.config()
	if err != nil {
		return err
	}
	reg, err := s.services(ctx, names, config.Recording)
	if err != nil {
		return err
	}
	m, err := mock.New(reg, config)
	if err != nil {
		return app.Exit(app.ExitUsage, err)
	}
	var servers []*mockServer
	defer func() {
		for _, server := range servers {
			server.close()
		}
	}()
	for range s.servers {
		server, err := s.start(ctx, m, reg)
		if err != nil {
			return err
		}
		servers = append(servers, server)
	}
	if err := s.announce(reg, servers); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// config returns the configuration of the mock for the flags. It reads the stubs and the recording
// that the flags name.
func (s *serve) config() (config mock.Config, err error) {
	config = mock.Config{Seed: s.seed, Echo: s.echo, Affinity: &s.affinity, Every: s.every, Answered: s.print}
	if config.Latency, err = mock.ParseDelay(s.latency); err != nil {
		return config, app.Usagef("--latency: %w", err)
	}
	if s.failures != "" {
		if config.Failures, err = mock.ParseFailures(s.failures); err != nil {
			return config, app.Usagef("--error: %w", err)
		}
	}
	if s.stubs != "" {
		file, err := os.Open(s.stubs)
		if err != nil {
			return config, err
		}
		config.Stubs, err = mock.LoadStubs(file)
		if err := errors.Join(err, file.Close()); err != nil {
			return config, fmt.Errorf("%s: %w", s.stubs, err)
		}
	}
	if s.from != "" {
		config.Recording, err = loadRecording(s.app, s.from)
	}
	return config, err
}

// loadRecording reads a recording from a file.
func loadRecording(a *app.App, path string) (*recording.Recording, error) {
	file, err := os.Open(path) //nolint:gosec // the user has named it
	if err != nil {
		return nil, err
	}
	rec, cut, err := recording.Load(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if cut {
		a.Warnf("%s has no end: the recording was not closed", path)
	}
	return rec, nil
}

// services returns a registry with the services to serve. If there are no names, these are all
// services of the files or the recording.
func (s *serve) services(ctx context.Context, names []string, rec *recording.Recording) (*registry.Registry, error) {
	reg, err := s.available(rec)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		if len(reg.Services()) == 0 {
			return nil, app.Hint(app.Usagef("serve needs a schema"), "name .proto files with -p, or a recording with --from")
		}
		return reg, nil
	}
	chosen := registry.New(registry.WithLogger(s.app.Logger()))
	for _, name := range names {
		service, err := s.find(ctx, reg, name)
		if err != nil {
			return nil, err
		}
		if _, err := chosen.Register(service.Descriptor(), registry.WithWireName(service.WireName())); err != nil {
			return nil, err
		}
	}
	return chosen, nil
}

// available returns a registry with the services of the recording or, if there is none, of the
// files.
func (s *serve) available(rec *recording.Recording) (*registry.Registry, error) {
	if rec != nil {
		reg, skipped, err := rec.Registry(registry.WithLogger(s.app.Logger()))
		for _, version := range skipped {
			s.app.Warnf("the recording has another version of %s, digest %.8s, which is not served", version.Name, version.Digest)
		}
		return reg, err
	}
	settings, err := s.app.Settings()
	if err != nil {
		return nil, err
	}
	reg := registry.New(registry.WithLogger(s.app.Logger()))
	files := schema.Files{Proto: settings.Proto, Import: settings.Import, DescriptorSet: settings.DescriptorSet}
	return reg, files.LoadInto(reg)
}

// find returns the service of the registry with the given name. If there is none, it looks for the
// schema elsewhere.
func (s *serve) find(ctx context.Context, reg *registry.Registry, name string) (*registry.Service, error) {
	for _, service := range reg.Services() {
		if full := string(service.Name()); full == name || strings.HasSuffix(full, "."+name) {
			return service, nil
		}
	}
	return s.app.Service(ctx, name)
}

// mockServer is a server whose handlers are those of a mock.
type mockServer struct {
	server *dynamic.Server
	status *fleet.Status
	// unreached contains the methods that get no requests, because they have topics and --topic
	// names none for them.
	unreached []string
	stop      context.CancelFunc
	published chan struct{}
}

// start starts a server for the services of reg, and publishes updates until ctx ends.
func (s *serve) start(ctx context.Context, m *mock.Mock, reg *registry.Registry) (*mockServer, error) {
	b, err := s.app.Bus(ctx)
	if err != nil {
		return nil, err
	}
	server := &mockServer{
		server:    dynamic.NewServer(b, mock.WithTopics(), dynamic.WithLogger(s.app.Logger())),
		published: make(chan struct{}),
	}
	ctx, server.stop = context.WithCancel(ctx)
	var registrations []*dynamic.Registration
	for _, service := range reg.Services() {
		registration, err := server.server.Register(service, m.Handlers(service))
		if err == nil {
			registrations = append(registrations, registration)
			err = s.registerTopics(server, registration)
		}
		if err != nil {
			close(server.published)
			server.close()
			return nil, app.RPC(err)
		}
	}
	// A mock is for development and tests, so every client may watch its messages.
	permitted := func(context.Context, fleet.Verb) error { return nil }
	server.status, err = fleet.Serve(server.server, fleet.WithApp("psrpc serve", dynamic.Version),
		fleet.WithAuthorize(permitted), fleet.WithTap(fleet.Filters(tapfilter.Compile)))
	if err != nil {
		close(server.published)
		server.close()
		return nil, app.RPC(err)
	}
	go func() {
		defer close(server.published)
		m.Publish(ctx, s.splitTopics(), registrations...)
	}()
	return server, nil
}

// registerTopics registers the methods with topics for the topics that --topic names.
func (s *serve) registerTopics(server *mockServer, registration *dynamic.Registration) error {
	for _, method := range registration.Service().Methods() {
		if !method.Topics() || method.Kind() == registry.KindSubscription {
			continue
		}
		topics := mock.TopicsFor(method, s.splitTopics())
		if len(topics) == 0 {
			server.unreached = append(server.unreached, method.FullName())
		}
		for _, topic := range topics {
			if err := registration.RegisterTopic(method.Name(), topic...); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *serve) splitTopics() [][]string {
	topics := make([][]string, len(s.topics))
	for i, topic := range s.topics {
		topics[i] = strings.Split(topic, ",")
	}
	return topics
}

// close stops the server. It waits for running requests for a while.
func (m *mockServer) close() {
	m.stop()
	<-m.published
	if m.status != nil {
		_ = m.status.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), app.DefaultTimeout)
	defer cancel()
	if m.server.Shutdown(ctx) != nil {
		m.server.Kill()
	}
}

// announce prints which services are served on which bus. It also warns about methods and topics
// that do not fit --topic.
func (s *serve) announce(reg *registry.Registry, servers []*mockServer) error {
	for _, method := range servers[0].unreached {
		s.app.Warnf("%s has topics and is served for none: add --topic", method)
	}
	for i, topic := range s.splitTopics() {
		if !hasTopicsLike(reg, topic) {
			s.app.Warnf("--topic %s: no method has topics of %s", s.topics[i], human.Plural(len(topic), "part"))
		}
	}
	var names []string
	for _, service := range reg.Services() {
		names = append(names, string(service.Name()))
	}
	s.app.Notef("%s on %s: %s", human.Plural(len(servers), "server"), busName(s.app), strings.Join(names, ", "))
	return nil
}

// hasTopicsLike reports whether some method has topics with as many parts as topic has.
func hasTopicsLike(reg *registry.Registry, topic []string) bool {
	for _, service := range reg.Services() {
		for _, method := range service.Methods() {
			if method.Topics() && method.TopicParts() == len(topic) {
				return true
			}
		}
	}
	return false
}

// served is an answer in the format json.
type served struct {
	Time     time.Time       `json:"time"`
	Method   string          `json:"method"`
	Topic    []string        `json:"topic,omitempty"`
	Source   string          `json:"source"`
	Request  json.RawMessage `json:"request,omitempty"`
	Response json.RawMessage `json:"response,omitempty"`
	Code     string          `json:"code,omitempty"`
	Error    string          `json:"error,omitempty"`
}

// shown returns a message as JSON, for printing without its secrets.
func (s *serve) shown(service *registry.Service, message proto.Message) json.RawMessage {
	if message == nil {
		return nil
	}
	message = proto.Clone(message)
	s.redactor.Apply(message, service)
	return payloadJSON(service, message)
}

// print prints how the mock has answered a request, or which update it has published.
func (s *serve) print(a mock.Answer) {
	if s.app.Flags.Quiet {
		return
	}
	line := served{Time: s.app.Now().UTC(), Method: a.Method.FullName(), Topic: a.Topic, Source: a.Source}
	service := a.Method.Service()
	line.Request, line.Response = s.shown(service, a.Request), s.shown(service, a.Response)
	if a.Err != nil {
		line.Error, line.Code, line.Response = a.Err.Error(), codeOf(a.Err), nil
	}
	if s.app.Format() == app.FormatJSON {
		_ = s.app.JSON(line)
		return
	}
	text := line.Method
	if len(a.Topic) > 0 {
		text += " " + strings.Join(a.Topic, ",")
	}
	if line.Request != nil {
		text += fmt.Sprintf(" %s", line.Request)
	}
	if a.Err != nil {
		text += fmt.Sprintf(" -> %s: %s", line.Code, line.Error)
	} else {
		text += fmt.Sprintf(" -> %s", line.Response)
	}
	_ = s.app.Printf("%s %s (%s)\n", s.app.Now().Format("15:04:05.000"), app.OneLine(text), a.Source)
}
