// Command kinds demonstrates every kind of method that the psrpc options can declare. It runs three
// servers on the in-process bus and uses a method of each kind.
//
//	go run ./example/kinds
//
// For each kind, it prints which servers or subscribers received the messages.
package main

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"log"
	"slices"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

//go:embed fleet.proto
var protos embed.FS

type text = *wrapperspb.StringValue

func main() {
	b := bus.NewLocal()
	defer b.Close()
	reg := registry.New()
	check(reg.ParseProto(protos, "fleet.proto"))
	fleet, _ := reg.Service("fleet.Fleet")
	var services []*dynamic.Registration
	for score, region := range []string{"eu", "us", "asia"} {
		server := dynamic.NewServer(b, dynamic.WithServerID(region+"-1"))
		defer server.Kill()
		service := must(serve(server, fleet, float32(score)))
		check(service.RegisterTopic("Local", region))
		services = append(services, service)
	}
	conn := must(dynamic.NewConn(b, reg))
	defer conn.Close()

	ctx := context.Background()
	single(ctx, conn)
	affinity(ctx, conn)
	multi(ctx, conn)
	topic(ctx, conn)
	stream(ctx, conn)
	subscription(ctx, conn, services[0])
}

// serve registers the handlers of one server. score is the affinity with which the server claims
// Compute requests.
func serve(server *dynamic.Server, fleet *registry.Service, score float32) (*dynamic.Registration, error) {
	answer := func(_ context.Context, request text) (text, error) {
		return wrapperspb.String(fmt.Sprintf("%s says %s", server.ID(), request.GetValue())), nil
	}
	return server.Register(fleet.Descriptor(), dynamic.Handlers{
		"Greet":   dynamic.Unary(answer),
		"Compute": dynamic.Unary(answer, dynamic.WithAffinity(func(context.Context, text) float32 { return score })),
		"Census":  dynamic.Unary(answer),
		"Local":   dynamic.Unary(answer),
		"Talk": dynamic.Stream(func(s dynamic.ServerStream[text, text]) error {
			for message := range s.Channel() {
				if err := s.Send(wrapperspb.String("echo of " + message.GetValue())); err != nil {
					return err
				}
			}
			return nil
		}),
	})
}

func single(ctx context.Context, conn *dynamic.Conn) {
	// The bus delivers each request to one of the servers.
	for range 3 {
		must(client(conn, "Greet").Call(ctx, wrapperspb.String("hello")))
	}
	fmt.Println("single:      one server answered each of three calls")
}

func affinity(ctx context.Context, conn *dynamic.Conn) {
	best := must(client(conn, "Compute").Call(ctx, wrapperspb.String("42")))
	fmt.Println("affinity:    the server with the highest affinity answered:", best.GetValue())
}

func multi(ctx context.Context, conn *dynamic.Conn) {
	var answers []string
	for response := range client(conn, "Census").Responses(ctx, wrapperspb.String("here")) {
		check(response.Err)
		answers = append(answers, response.Result.GetValue())
	}
	slices.Sort(answers)
	fmt.Printf("multi:       every server answered: %q\n", answers)
}

func topic(ctx context.Context, conn *dynamic.Conn) {
	local := client(conn, "Local")
	answer := must(local.Topic("us").Call(ctx, wrapperspb.String("howdy")))
	fmt.Println("topic:       the server registered for the topic answered:", answer.GetValue())

	_, err := local.Topic("moon").Call(ctx, wrapperspb.String("hello?"))
	facts, _ := errors.FactsOf(err)
	fmt.Printf("             a call to a topic without a server failed at once: %s\n", facts.Reason)
}

func stream(ctx context.Context, conn *dynamic.Conn) {
	talk := must(client(conn, "Talk").OpenStream(ctx))
	check(talk.Send(wrapperspb.String("one")))
	fmt.Printf("stream:      the server sent back %q\n", (<-talk.Channel()).GetValue())
	check(talk.Close(nil))
}

func subscription(ctx context.Context, conn *dynamic.Conn, service *dynamic.Registration) {
	first, second := must(client(conn, "Jobs").Subscribe(ctx)), must(client(conn, "Jobs").Subscribe(ctx))
	all := must(client(conn, "News").Subscribe(ctx))
	for _, job := range []string{"a", "b", "c", "d"} {
		check(service.Publish(ctx, "Jobs", wrapperspb.String(job)))
	}
	// A client can publish updates, too.
	check(dynamic.Publish(ctx, conn, "fleet.Fleet/News", json.RawMessage(`"it rains"`)))
	fmt.Printf("queue:       two subscribers shared four jobs: %d and %d\n", len(first.Channel()), len(second.Channel()))
	fmt.Printf("subscribers: every subscriber got %q\n", (<-all.Channel()).GetValue())
}

func client(conn *dynamic.Conn, method string) *dynamic.Client[text, text] {
	return must(dynamic.NewClient[text, text](conn, "fleet.Fleet/"+method))
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
