package dynamic_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"testing/fstest"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// A program shuts its server down when it is interrupted. Shutdown waits until the running handlers
// have responded. If the context passed to Shutdown ends first, Shutdown cancels the handlers.
func ExampleServer_Shutdown() {
	const source = `
		syntax = "proto3";
		package example;
		import "google/protobuf/wrappers.proto";
		service Reports {
		  rpc Print(google.protobuf.StringValue) returns (google.protobuf.StringValue);
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"reports.proto": {Data: []byte(source)}}, "reports.proto"); err != nil {
		fmt.Println(err)
		return
	}
	service, _ := reg.Service("example.Reports")
	b := bus.NewLocal()
	defer b.Close()

	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	printReport := func(_ context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
		// The signal arrives while this request is handled, as if Ctrl-C was pressed.
		process, err := os.FindProcess(os.Getpid())
		if err != nil {
			return nil, err
		}
		if err := process.Signal(os.Interrupt); err != nil {
			return nil, err
		}
		<-interrupted.Done()
		return wrapperspb.String(name.GetValue() + " is printed"), nil
	}
	server := dynamic.NewServer(b)
	if _, err := server.Register(service, dynamic.Handlers{"Print": dynamic.Unary(printReport)}); err != nil {
		fmt.Println(err)
		return
	}

	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	answered := make(chan string, 1)
	go func() {
		response, err := dynamic.Invoke(context.Background(), conn, "example.Reports/Print", wrapperspb.String("May"))
		if err != nil {
			answered <- err.Error()
			return
		}
		answered <- response.(*wrapperspb.StringValue).GetValue()
	}()

	<-interrupted.Done()
	stop() // from now on a second signal ends the program at once
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println("shutdown:", server.Shutdown(ctx))
	fmt.Println("response:", <-answered)
	// Output:
	// shutdown: <nil>
	// response: May is printed
}

// A request that exceeds the limit of a server is refused before its handler runs. IsUnprocessed
// reports that, so the caller can safely send the request again. The method here has a single
// server. For other methods the client selects another server that has room.
func ExampleWithMaxConcurrentRequests() {
	const source = `
		syntax = "proto3";
		package example;
		import "options.proto";
		import "google/protobuf/wrappers.proto";
		service Printer {
		  rpc Print(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
		    option (psrpc.options).topic_params.single_server = true;
		  }
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"printer.proto": {Data: []byte(source)}}, "printer.proto"); err != nil {
		fmt.Println(err)
		return
	}
	service, _ := reg.Service("example.Printer")
	b := bus.NewLocal()
	defer b.Close()

	started, proceed := make(chan struct{}), make(chan struct{})
	printPage := func(_ context.Context, page *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
		close(started)
		<-proceed
		return wrapperspb.String(page.GetValue() + " is printed"), nil
	}
	server := dynamic.NewServer(b, dynamic.WithMaxConcurrentRequests(1))
	defer server.Kill()
	if _, err := server.Register(service, dynamic.Handlers{"Print": dynamic.Unary(printPage)}); err != nil {
		fmt.Println(err)
		return
	}
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	client, err := dynamic.NewClient[*wrapperspb.StringValue, *wrapperspb.StringValue](conn, "example.Printer/Print")
	if err != nil {
		fmt.Println(err)
		return
	}

	first := make(chan string, 1)
	go func() {
		response, err := client.Call(context.Background(), wrapperspb.String("page 1"),
			dynamic.WithRequestTimeout(time.Minute))
		first <- fmt.Sprint(response.GetValue(), ", error ", err)
	}()
	<-started

	_, err = client.Call(context.Background(), wrapperspb.String("page 2"))
	if coded, ok := errors.AsType[errors.Error](err); ok {
		fmt.Println(coded.Code(), dynamic.IsUnprocessed(err))
	}
	close(proceed)
	fmt.Println(<-first)
	// Output:
	// resource_exhausted true
	// page 1 is printed, error <nil>
}

// A request that runs while the service is replaced is completed by the old version. Each later
// request is handled by the new version.
func ExampleRegistration_Replace_runningRequest() {
	const source = `
		syntax = "proto3";
		package example;
		import "google/protobuf/empty.proto";
		import "google/protobuf/wrappers.proto";
		service About {
		  rpc Version(google.protobuf.Empty) returns (google.protobuf.StringValue);
		}`
	reg := registry.New()
	if err := reg.ParseProto(fstest.MapFS{"about.proto": {Data: []byte(source)}}, "about.proto"); err != nil {
		fmt.Println(err)
		return
	}
	service, _ := reg.Service("example.About")
	b := bus.NewLocal()
	defer b.Close()
	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	call := func() string {
		response, err := dynamic.Invoke(context.Background(), conn, "example.About/Version", nil)
		if err != nil {
			return err.Error()
		}
		return response.(*wrapperspb.StringValue).GetValue()
	}

	started, proceed := make(chan struct{}), make(chan struct{})
	version1 := func(context.Context, *emptypb.Empty) (*wrapperspb.StringValue, error) {
		close(started)
		<-proceed
		return wrapperspb.String("version 1"), nil
	}
	version2 := func(context.Context, *emptypb.Empty) (*wrapperspb.StringValue, error) {
		return wrapperspb.String("version 2"), nil
	}
	server := dynamic.NewServer(b)
	defer server.Kill()
	old, err := server.Register(service, dynamic.Handlers{"Version": dynamic.Unary(version1)})
	if err != nil {
		fmt.Println(err)
		return
	}
	running := make(chan string, 1)
	go func() { running <- call() }()
	<-started

	if _, err := old.Replace(service, dynamic.Handlers{"Version": dynamic.Unary(version2)}); err != nil {
		fmt.Println(err) // the old version continues
		return
	}
	fmt.Println("a new request:", call())
	close(proceed)
	fmt.Println("the running request:", <-running)
	fmt.Println("closed:", old.Close(context.Background())) // waits for the handlers of the old version
	// Output:
	// a new request: version 2
	// the running request: version 1
	// closed: <nil>
}
