package plugin_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// greetings is a loader for plugins whose code is a single word: the greeting in their responses.
type greetings struct{}

func (greetings) Name() string { return "greeting" }

func (greetings) Load(_ context.Context, source *plugin.Source, _ func(error)) (plugin.Instance, error) {
	return greeting{source}, nil
}

type greeting struct{ source *plugin.Source }

func (g greeting) Services() []plugin.Service {
	hello := func(_ context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
		return wrapperspb.String(string(g.source.Content) + ", " + name.GetValue()), nil
	}
	return []plugin.Service{{
		Descriptor: g.source.Services[0].Descriptor(),
		Handlers:   dynamic.Handlers{"Hello": dynamic.Unary(hello)},
	}}
}

func (greeting) Close(context.Context) error { return nil }

func ExampleHost() {
	folder, err := os.MkdirTemp("", "greeter")
	if err != nil {
		log.Fatal(err)
	}
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			log.Fatal(err)
		}
	}
	write("plugin.json", `{
		"name": "greeter", "loader": "greeting", "code": "code.txt",
		"descriptors": "greeting.proto", "services": ["greeting.Greeter"]
	}`)
	write("greeting.proto", proto)
	write("code.txt", "Hello")

	b := bus.NewLocal()
	server := dynamic.NewServer(b)
	host, err := plugin.NewHost(server, plugin.WithLoaders(greetings{}),
		plugin.WithEvents(func(e plugin.Event) { fmt.Println(e.Kind, e.Plugin, e.Err) }))
	if err != nil {
		log.Fatal(err)
	}
	reg := registry.New()
	if err := reg.ParseProto(os.DirFS(folder), "greeting.proto"); err != nil {
		log.Fatal(err)
	}
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	for _, word := range []string{"Hello", "Good morning"} {
		write("code.txt", word)
		if err := host.Load(ctx, folder); err != nil {
			log.Fatal(err)
		}
		answer, err := dynamic.Invoke(ctx, conn, "greeting.Greeter/Hello", wrapperspb.String("Ada"))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(answer.(*wrapperspb.StringValue).GetValue())
	}
	if err := host.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	_ = conn.Close()
	_ = server.Shutdown(ctx)
	_ = b.Close()
	_ = os.RemoveAll(folder)
	// Unordered output:
	// loaded greeter <nil>
	// Hello, Ada
	// replaced greeter <nil>
	// Good morning, Ada
	// unloaded greeter <nil>
}
