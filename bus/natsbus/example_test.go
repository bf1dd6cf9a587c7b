package natsbus_test

import (
	"context"
	"log"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
)

// A bus on a connection that the program owns and closes. ConnOptions come first, so that the
// program's own options can override them.
func ExampleNew() {
	nc, err := nats.Connect("nats://localhost:4222", append(natsbus.ConnOptions(), nats.Name("gateway"))...)
	if err != nil {
		log.Print(err)
		return
	}
	defer nc.Close()

	b, err := natsbus.New(nc,
		natsbus.WithPrefix("staging."),
		natsbus.WithEventHandler(func(event bus.Event) { log.Print(event.Kind, " ", event.Err) }),
	)
	if err != nil {
		log.Print(err)
		return
	}
	defer b.Close()

	// Pass b to dynamic.NewServer or dynamic.NewConn.
	log.Print("connected: ", b.Stats().Connected)
}

// A bus that dials its own connection. subject_per_method gives each method its own subject; all
// peers must use the same setting, which excludes psrpc peers.
func Example_open() {
	b, err := bus.Open(context.Background(), "nats://user:password@localhost:4222?name=gateway&subject_per_method=true")
	if err != nil {
		log.Print(err)
		return
	}
	defer b.Close() // closes the connection as well

	// Pass b to dynamic.NewServer or dynamic.NewConn.
	<-b.Done()
}
