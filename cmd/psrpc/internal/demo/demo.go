package demo

import (
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet/tapfilter"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

//go:embed greeter.proto
var protos embed.FS

// regions are given to the servers in turn. A server has its region as the label "region", and
// serves the method In for the topic with the name of its region.
var regions = []string{"eu", "us", "asia"}

// newsInterval is the time between two updates of the method News.
const newsInterval = time.Second

// Demo is a number of servers with the example service.
type Demo struct {
	service       *registry.Service
	servers       []*dynamic.Server
	registrations []*dynamic.Registration
	statuses      []*fleet.Status
	greeted       atomic.Int32
	stop          chan struct{}
	news          sync.WaitGroup
}

// Start starts servers on a bus. Every client of the bus may watch and change them. level is the
// log level that clients can set; it may be nil. Close stops the servers.
func Start(b bus.Bus, servers int, level *slog.LevelVar) (*Demo, error) {
	reg := registry.New()
	if err := reg.ParseProto(protos, "greeter.proto"); err != nil {
		return nil, err
	}
	service, err := reg.FindService("greeting.Greeter")
	if err != nil {
		return nil, err
	}
	d := &Demo{service: service, stop: make(chan struct{})}
	for i := range servers {
		if err := d.startServer(b, i, level); err != nil {
			d.Close()
			return nil, err
		}
	}
	if servers > 0 {
		d.news.Go(d.publishNews)
	}
	return d, nil
}

// startServer starts the server with the given index.
func (d *Demo) startServer(b bus.Bus, i int, level *slog.LevelVar) error {
	id, region := fmt.Sprintf("greeter-%d", i+1), regions[i%len(regions)]
	server := dynamic.NewServer(b, dynamic.WithServerID(id))
	d.servers = append(d.servers, server)
	hello := func(_ context.Context, request *dynamicpb.Message) (*dynamicpb.Message, error) {
		return d.greet(request, id)
	}
	affinity := func(context.Context, *dynamicpb.Message) float32 { return 1 / float32(i+1) }
	registration, err := server.Register(d.service, dynamic.Handlers{
		"Hello": dynamic.Unary(hello),
		"Best":  dynamic.Unary(hello, dynamic.WithAffinity(affinity)),
		"All":   dynamic.Unary(hello),
		"In":    dynamic.Unary(hello),
		"Chat": dynamic.Stream(func(s dynamic.ServerStream[*dynamicpb.Message, *dynamicpb.Message]) error {
			for request := range s.Channel() {
				response, err := d.greet(request, id)
				if err != nil {
					return err
				}
				if err := s.Send(response); err != nil {
					return err
				}
			}
			return nil
		}),
	})
	if err != nil {
		return err
	}
	d.registrations = append(d.registrations, registration)
	if err := registration.RegisterTopic("In", region); err != nil {
		return err
	}
	permitted := func(context.Context, fleet.Verb) error { return nil }
	status, err := fleet.Serve(server,
		fleet.WithApp("greeter", dynamic.Version), fleet.WithLabels(map[string]string{"region": region}),
		fleet.WithAuthorize(permitted), fleet.WithTap(fleet.Filters(tapfilter.Compile)), fleet.WithAdmin(fleet.LogLevel(level)))
	if err != nil {
		return err
	}
	d.statuses = append(d.statuses, status)
	return nil
}

// greeting is the content of the messages in their JSON form.
type greeting struct {
	Name     string            `json:"name,omitempty"`
	Language string            `json:"language,omitempty"`
	Text     string            `json:"text,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`
	Greeted  int32             `json:"greeted,omitempty"`
}

// texts contains the greeting word in each language. English is the default.
var texts = map[string]string{"en": "Hello", "de": "Hallo", "fr": "Bonjour"}

// greet returns the response to a greeting request that has arrived at the given server.
func (d *Demo) greet(message proto.Message, server string) (*dynamicpb.Message, error) {
	var request greeting
	encoded, err := protojson.Marshal(message)
	if err == nil {
		err = json.Unmarshal(encoded, &request)
	}
	if err != nil {
		return nil, err
	}
	if request.Name == "" {
		return nil, errors.NewErrorf(errors.InvalidArgument, "name is empty")
	}
	text, ok := texts[cmp.Or(request.Language, "en")]
	if !ok {
		return nil, errors.NewErrorf(errors.NotFound, "no greeting in language %q", request.Language)
	}
	d.greeted.Add(1)
	tags := map[string]string{"server": server}
	maps.Copy(tags, request.Tags)
	return d.message("HelloResponse", greeting{Text: text + ", " + request.Name, Tags: tags})
}

// message returns a message of the example's schema.
func (d *Demo) message(name protoreflect.Name, content greeting) (*dynamicpb.Message, error) {
	encoded, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	messages := d.service.Descriptor().ParentFile().Messages()
	message := dynamicpb.NewMessage(messages.ByName(name))
	return message, protojson.Unmarshal(encoded, message)
}

// publishNews publishes an update every second until the servers are stopped.
func (d *Demo) publishNews() {
	ticker := time.NewTicker(newsInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			greeted := d.greeted.Load()
			update, err := d.message("NewsUpdate", greeting{Text: fmt.Sprintf("%d greetings so far", greeted), Greeted: greeted})
			if err == nil {
				// An error does not matter, because the next update follows after a second.
				_ = d.registrations[0].Publish(context.Background(), "News", update)
			}
		case <-d.stop:
			return
		}
	}
}

// Close stops the servers and waits until they have stopped.
func (d *Demo) Close() {
	close(d.stop)
	d.news.Wait()
	for _, status := range d.statuses {
		_ = status.Close() // an error does not matter, because the server stops anyway
	}
	for _, server := range d.servers {
		server.Kill()
	}
}

// Servers returns the servers.
func (d *Demo) Servers() []*dynamic.Server { return d.servers }
