package bustest_test

import (
	"context"
	"fmt"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/bustest"
)

// A bus loses a fifth of the frames and duplicates another fifth. The seed decides which ones, so
// that a failing test can be repeated. In a test, Logf would be t.Logf.
func ExampleFaultBus() {
	ctx := context.Background()
	unreliable := bustest.NewFaultBus(bus.NewLocal(), 1, bustest.Faults{
		Loss: 0.2, Duplicate: 0.2,
		Logf: func(format string, args ...any) { fmt.Printf(format+"\n", args...) },
	})
	defer unreliable.Close()
	updates := bus.Channel{Name: "updates"}
	var received []string
	if _, err := unreliable.Subscribe(ctx, updates, bus.Broadcast, func(frame []byte) { received = append(received, string(frame)) }); err != nil {
		fmt.Println(err)
		return
	}
	for number := range 10 {
		if err := unreliable.Publish(ctx, updates, fmt.Append(nil, number+1), nil); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println("received", received)
	fmt.Printf("%+v\n", unreliable.Counts())
	// Output:
	// bustest: lost frame 1 on channel updates
	// bustest: duplicated frame 3 on channel updates
	// bustest: duplicated frame 4 on channel updates
	// bustest: duplicated frame 7 on channel updates
	// bustest: lost frame 9 on channel updates
	// received [2 3 3 4 4 5 6 7 7 8 10]
	// {Published:10 Lost:2 Duplicated:3 Reordered:0 Delayed:0 Cuts:0 CutOff:0}
}

// Cut makes all frames disappear without a notice, as if the network between a process and the
// broker were broken.
func ExampleFaultBus_Cut() {
	ctx := context.Background()
	broker := bus.NewLocal() // stands for a bus that connects to a broker
	link := bustest.NewFaultBus(broker, 1, bustest.Faults{})
	defer link.Close()
	updates := bus.Channel{Name: "updates"}
	if _, err := link.Subscribe(ctx, updates, bus.Broadcast, func(frame []byte) { fmt.Println("received", string(frame)) }); err != nil {
		fmt.Println(err)
		return
	}
	for _, frame := range []string{"before", "during", "after"} {
		switch frame {
		case "during":
			link.Cut()
		case "after":
			link.Restore()
		}
		fmt.Println("publish", frame, broker.Publish(ctx, updates, []byte(frame), nil))
	}
	// Output:
	// received before
	// publish before <nil>
	// publish during <nil>
	// received after
	// publish after <nil>
}
