package bus_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

// The in-process bus delivers a frame before Publish returns.
func ExampleNewLocal() {
	b := bus.NewLocal()
	defer b.Close()
	ctx := context.Background()
	channel := bus.Channel{Name: "greetings"}

	subscription, err := b.Subscribe(ctx, channel, bus.Broadcast, func(frame []byte) {
		fmt.Printf("received %s\n", frame)
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer subscription.Close()

	if err := b.Publish(ctx, channel, []byte("hello"), nil); err != nil {
		fmt.Println(err)
	}
	// Output: received hello
}

// The scheme of a URL selects the driver. The scheme "local" needs no import.
func ExampleOpen() {
	ctx := context.Background()
	b, err := bus.Open(ctx, "local://?max_frame_size=4")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	fmt.Println(b.Publish(ctx, bus.Channel{Name: "greetings"}, []byte("hello"), nil))

	_, err = bus.Open(ctx, "nosuch://host")
	fmt.Println(err != nil)
	// Output:
	// frame is too large for the bus: 5 bytes on channel greetings, the limit is 4
	// true
}

// The logger of a bus is also that of the servers and conns that use it.
func ExampleWithLogger() {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("part", "rpc")
	b, err := bus.Open(context.Background(), "local://", bus.WithLogger(logger))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	fmt.Println(bus.LoggerOf(b) == logger)
	// Output: true
}
