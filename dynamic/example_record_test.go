package dynamic_test

import (
	"context"
	"fmt"
	"sync/atomic"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// callCounter counts the calls of a server. All methods share the counters.
type callCounter struct{ calls, failed atomic.Uint64 }

func (c *callCounter) MethodRecorder(*registry.Method) dynamic.MethodRecorder { return c }
func (c *callCounter) RecordChange(dynamic.ServerChange)                      {}
func (c *callCounter) RecordStart()                                           { c.calls.Add(1) }
func (c *callCounter) RecordClaim(float32)                                    {}
func (c *callCounter) RecordExpired()                                         {}
func (c *callCounter) RecordPanic()                                           {}
func (c *callCounter) RecordUpdate()                                          {}

func (c *callCounter) RecordEnd(end dynamic.CallEnd) {
	if end.Code != "" {
		c.failed.Add(1)
	}
}

// A recorder can be added to a server that is already running.
func ExampleServer_Record() {
	b, reg := bus.NewLocal(), shouting()
	defer b.Close()
	server := dynamic.NewServer(b)
	defer server.Kill()
	if _, err := server.Register(shoutingDescriptor(reg), dynamic.Handlers{"Shout": dynamic.Unary(shout)}); err != nil {
		fmt.Println(err)
		return
	}
	var counter callCounter
	stop, err := server.Record(&counter)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()

	conn, err := dynamic.NewConn(b, reg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer conn.Close()
	for _, text := range []string{"hello", "", "bye"} {
		_, _ = dynamic.Invoke(context.Background(), conn, "example.Shouting/Shout", wrapperspb.String(text))
	}
	fmt.Println(counter.calls.Load(), "calls,", counter.failed.Load(), "failed")
	// Output: 3 calls, 1 failed
}
