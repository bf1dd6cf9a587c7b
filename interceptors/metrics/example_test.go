package metrics_test

import (
	"context"
	"fmt"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
	"github.com/dynpsrpc/dynpsrpc/tests/allkinds"
)

// printer prints the sizes of messages.
type printer struct{}

func (printer) Observe(_ context.Context, instrument *metrics.Instrument, value float64, labels ...string) {
	if instrument.Unit == "By" {
		fmt.Println(instrument.Name, value, labels)
	}
}

// Whatever has an Observe can take measurements.
func ExampleObserver() {
	reg, err := allkinds.Registry()
	check(err)
	b := bus.NewLocal()
	defer b.Close()
	server := dynamic.NewServer(b, metrics.New(printer{}))
	defer server.Kill()
	service, _ := reg.Service("kinds.All")
	_, err = server.Register(service, allkinds.Handlers())
	check(err)
	conn, err := dynamic.NewConn(b, reg, metrics.New(printer{}))
	check(err)
	defer conn.Close()

	_, err = dynamic.Invoke(context.Background(), conn, allkinds.One, &allkinds.Text{Value: "hello"})
	check(err)
	// Output:
	// rpc.client.request.size 7 [psrpc kinds.All/One]
	// rpc.server.request.size 7 [psrpc kinds.All/One]
	// rpc.server.response.size 7 [psrpc kinds.All/One]
	// rpc.client.response.size 7 [psrpc kinds.All/One]
}

// What a source reports can be had without an observer.
func ExampleOfServer() {
	b := bus.NewLocal()
	defer b.Close()
	server := dynamic.NewServer(b)
	defer server.Kill()
	metrics.OfServer("main", server)(func(instrument *metrics.Instrument, value float64, labels ...string) {
		fmt.Println(instrument.Name, value, labels)
	})
	// Output:
	// dynpsrpc.server.waiting 0 [main]
	// dynpsrpc.server.dropped 0 [main bad_frame]
	// dynpsrpc.server.dropped 0 [main expired]
	// dynpsrpc.server.dropped 0 [main repeated]
	// dynpsrpc.server.dropped 0 [main unawaited]
	// dynpsrpc.server.dropped 0 [main discarded]
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
