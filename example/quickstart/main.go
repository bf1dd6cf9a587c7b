// Command quickstart serves and calls a service that is known only from its .proto source. It needs
// neither a broker nor generated code.
//
//	go run ./example/quickstart
//
// It prints the answers to calls with well-known types, with dynamic messages and with JSON. It
// also prints the error of a call that fails.
package main

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"log"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

//go:embed my_service.proto
var protos embed.FS

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	// Parse the schema at run time.
	reg := registry.New()
	if err := reg.ParseProto(protos, "my_service.proto"); err != nil {
		return err
	}
	service, _ := reg.Service("quickstart.MyService")
	normal, _ := service.Method("NormalRPC")
	fmt.Printf("loaded %s with %d methods\n", service.Name(), len(service.Methods()))

	// This bus delivers messages only inside this process.
	b := bus.NewLocal()
	defer b.Close()

	// Serve the service by registering its descriptor and a map of handlers.
	server := dynamic.NewServer(b)
	defer server.Kill()
	if _, err := server.Register(service.Descriptor(), dynamic.Handlers{
		"NormalRPC": dynamic.Unary(greet),
		"Shout":     dynamic.Unary(shout),
	}, dynamic.AllowMissing()); err != nil {
		return err
	}

	// Create a client that uses generated Go types, and call a method.
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		return err
	}
	defer conn.Close()
	shouter, err := dynamic.NewClient[*wrapperspb.StringValue, *wrapperspb.StringValue](conn, "quickstart.MyService/Shout")
	if err != nil {
		return err
	}
	loud, err := shouter.Call(ctx, wrapperspb.String("hello"))
	if err != nil {
		return err
	}
	fmt.Printf("Shout with well-known types answered %q\n", loud.GetValue())

	// Make a call with messages that have no generated Go type.
	greeter, err := dynamic.NewClient[*dynamicpb.Message, *dynamicpb.Message](conn, normal.FullName())
	if err != nil {
		return err
	}
	greeting, err := greeter.Call(ctx, message(normal.Input(), "name", "Ada"))
	if err != nil {
		return err
	}
	fmt.Printf("NormalRPC with dynamic messages answered %q\n", field(greeting, "greeting"))

	// Call a method by name with a JSON request.
	answer, err := dynamic.Invoke(ctx, conn, "quickstart.MyService/NormalRPC", json.RawMessage(`{"name": "Grace"}`))
	if err != nil {
		return err
	}
	fmt.Printf("NormalRPC with JSON answered %q\n", field(answer, "greeting"))

	// Make a call that fails. The client gets the code and the text of the handler's error.
	_, err = dynamic.Invoke(ctx, conn, "quickstart.MyService/NormalRPC", json.RawMessage(`{"years": 36}`))
	if failure, ok := errors.AsType[errors.Error](err); ok {
		fmt.Printf("NormalRPC without a name failed with code %s: %q\n", failure.Code(), failure.Error())
	}
	return nil
}

// greet handles the method NormalRPC. It uses descriptors to read the request and create the
// response.
func greet(_ context.Context, request *dynamicpb.Message) (*dynamicpb.Message, error) {
	name := field(request, "name").String()
	if name == "" {
		return nil, errors.NewErrorf(errors.InvalidArgument, "name is empty")
	}
	messages := request.Descriptor().ParentFile().Messages()
	return message(messages.ByName("MyResponse"), "greeting", "Hello, "+name+"!"), nil
}

func shout(_ context.Context, request *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	return wrapperspb.String(strings.ToUpper(request.GetValue()) + "!"), nil
}

func message(descriptor protoreflect.MessageDescriptor, name protoreflect.Name, value string) *dynamicpb.Message {
	m := dynamicpb.NewMessage(descriptor)
	m.Set(descriptor.Fields().ByName(name), protoreflect.ValueOfString(value))
	return m
}

func field(m proto.Message, name protoreflect.Name) protoreflect.Value {
	return m.ProtoReflect().Get(m.ProtoReflect().Descriptor().Fields().ByName(name))
}
