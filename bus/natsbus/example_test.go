package natsbus_test

import (
	"context"
	"log"

	"github.com/nats-io/nats.go"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
)

// The program creates and closes the connection itself. ConnOptions are the first options, so that
// the options after them take precedence.
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

// The bus dials and closes its own connection. The parameter subject_per_method gives each method
// its own subject. All peers must use the same setting. psrpc peers do not support it.
func Example_open() {
	b, err := bus.Open(context.Background(), "nats://user:password@localhost:4222?name=gateway&subject_per_method=true")
	if err != nil {
		log.Print(err)
		return
	}
	defer b.Close() // also closes the connection

	// Pass b to dynamic.NewServer or dynamic.NewConn.
	<-b.Done()
}
