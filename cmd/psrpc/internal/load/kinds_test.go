package load_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/load"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

const source = `syntax = "proto3";
package shop;
import "options.proto";
service Orders {
  rpc Get(Order) returns (Order);
  rpc All(Order) returns (Order) { option (psrpc.options).type = MULTI; }
  rpc Flow(Order) returns (Order) { option (psrpc.options).stream = true; }
  rpc News(Order) returns (Order) { option (psrpc.options) = { subscription: true type: MULTI }; }
  rpc Jobs(Order) returns (Order) { option (psrpc.options) = { subscription: true topics: true }; }
}
message Order { int64 id = 1; string name = 2; }
`

// fleet consists of two servers of the service shop.Orders.
type fleet struct {
	reg *registry.Registry
	bus bus.Bus
}

func newFleet(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{reg: registry.New(), bus: bus.NewLocal()}
	require.NoError(t, f.reg.ParseProto(fstest.MapFS{"shop.proto": {Data: []byte(source)}}, "shop.proto"))
	t.Cleanup(func() { assert.NoError(t, f.bus.Close()) })
	for range 2 {
		server := dynamic.NewServer(f.bus)
		t.Cleanup(func() { assert.NoError(t, server.Shutdown(context.Background())) })
		service, _ := f.reg.Service("shop.Orders")
		echo := dynamic.Unary(func(_ context.Context, order proto.Message) (proto.Message, error) { return order, nil })
		_, err := server.Register(service, dynamic.Handlers{
			"Get": echo, "All": echo,
			"Flow": dynamic.Stream(func(stream dynamic.ServerStream[proto.Message, proto.Message]) error {
				for order := range stream.Channel() {
					if err := stream.Send(order); err != nil {
						return err
					}
				}
				return nil
			}),
		})
		require.NoError(t, err)
	}
	return f
}

func (f *fleet) conn(t *testing.T) *dynamic.Conn {
	t.Helper()
	conn, err := dynamic.NewConn(f.bus, f.reg, dynamic.WithClientTimeout(time.Minute), dynamic.WithSelectionTimeout(time.Minute))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	return conn
}

func (f *fleet) target(t *testing.T, method, data string) *load.Target {
	t.Helper()
	m, ok := f.reg.Method("shop.Orders/" + method)
	require.True(t, ok)
	of := m.Input()
	if m.Kind() == registry.KindSubscription {
		of = m.Output()
	}
	template, err := load.NewTemplate(m, of, data)
	require.NoError(t, err)
	return &load.Target{Conn: f.conn(t), Method: m, Data: template}
}

func run(t *testing.T, plan load.Plan, operation load.Operation) *load.Result {
	t.Helper()
	result, err := load.Run(t.Context(), plan, operation)
	require.NoError(t, err)
	assert.Empty(t, result.FirstError)
	assert.Equal(t, plan.Count, result.Completed)
	return result
}

func TestCalls(t *testing.T) {
	f := newFleet(t)
	calls, err := load.NewCalls(f.target(t, "Get", `{"id": {{.N}}, "name": "{{uuid}}"}`))
	require.NoError(t, err)
	result := run(t, load.Plan{Callers: 4, Count: 100}, calls)
	assert.Positive(t, result.Latency.P50)
}

func TestMultiCalls(t *testing.T) {
	f := newFleet(t)
	calls, err := load.NewMultiCalls(f.target(t, "All", ""), 0)
	require.NoError(t, err)
	run(t, load.Plan{Callers: 2, Count: 50}, calls.Do)
	assert.Equal(t, &load.Responses{Total: 100, Fewest: 2, Most: 2}, calls.Responses())
}

func TestStreams(t *testing.T) {
	f := newFleet(t)
	for _, options := range []load.StreamOptions{
		{}, {Streams: 3, Echo: true}, {Streams: 2, Window: 16},
	} {
		streams, err := load.NewStreams(f.target(t, "Flow", `{"id": 7}`), options)
		require.NoError(t, err)
		run(t, load.Plan{Callers: 4, Count: 200}, streams.Do)
		require.NoError(t, streams.Flush(t.Context()))
		streams.Close()
	}
}

func TestUpdates(t *testing.T) {
	f := newFleet(t)
	subscribers := []*dynamic.Conn{f.conn(t), f.conn(t)}
	for _, wait := range []bool{true, false} {
		updates, err := load.NewUpdates(f.target(t, "News", `{"name": "x"}`), load.UpdateOptions{Subscribers: subscribers, Wait: wait, Settled: time.Minute})
		require.NoError(t, err)
		run(t, load.Plan{Callers: 2, Count: 100}, updates.Do)
		updates.Settle()
		delivery := updates.Delivery()
		assert.Positive(t, delivery.Latency.P50)
		delivery.Latency = load.Latency{}
		assert.Equal(t, &load.Delivery{Published: 100, Received: 200}, delivery)
		updates.Close()
	}
}

func TestUpdates_SharedByAQueueAndOnATopic(t *testing.T) {
	f := newFleet(t)
	target := f.target(t, "Jobs", "")
	target.Options = []dynamic.RequestOption{dynamic.WithTopic("eu")}
	updates, err := load.NewUpdates(target, load.UpdateOptions{Subscribers: []*dynamic.Conn{f.conn(t), f.conn(t)}, Settled: time.Minute})
	require.NoError(t, err)
	t.Cleanup(updates.Close)
	// Updates that another publisher sends must be counted as foreign.
	other, _ := f.reg.FindMessageByName("shop.Order")
	require.NoError(t, dynamic.Publish(t.Context(), target.Conn, "shop.Orders/Jobs", other.New().Interface(), dynamic.WithTopic("eu")))
	run(t, load.Plan{Count: 50}, updates.Do)
	updates.Settle()
	delivery := updates.Delivery()
	delivery.Latency = load.Latency{}
	assert.Equal(t, &load.Delivery{Published: 50, Received: 50, Foreign: 1}, delivery)
}

func TestUpdates_CountsLostOnes(t *testing.T) {
	f := newFleet(t)
	target := f.target(t, "News", "")
	// The subscriber is on another bus, so it receives no updates.
	f.bus = bus.NewLocal()
	t.Cleanup(func() { assert.NoError(t, f.bus.Close()) })
	updates, err := load.NewUpdates(target, load.UpdateOptions{Subscribers: []*dynamic.Conn{f.conn(t)}})
	require.NoError(t, err)
	t.Cleanup(updates.Close)
	result := run(t, load.Plan{Count: 10}, updates.Do)
	updates.Settle()
	result.Delivery = updates.Delivery()
	assert.Equal(t, &load.Delivery{Published: 10, Lost: 10}, result.Delivery)
	assert.InDelta(t, 1, result.ErrorRatio(), 1e-9)
}

func TestTemplate(t *testing.T) {
	f := newFleet(t)
	method, _ := f.reg.Method("shop.Orders/Get")
	for data, want := range map[string]string{
		``: `{}`,
		`{"id": "{{.N}}", "name": "c{{.Caller}}"}`:     `{"id":"5","name":"c2"}`,
		`{"id": {{rand 3 3}}, "name": "{{pick "x"}}"}`: `{"id":"3","name":"x"}`,
	} {
		template, err := load.NewTemplate(method, method.Input(), data)
		require.NoError(t, err, data)
		message, err := template.Message(load.Request{Number: 5, Caller: 2})
		require.NoError(t, err)
		encoded, err := protojson.Marshal(message)
		require.NoError(t, err)
		assert.JSONEq(t, want, string(encoded))
	}
	uuids, err := load.NewTemplate(method, method.Input(), `{"name": "{{uuid}} {{text 5}} {{now}}"}`)
	require.NoError(t, err)
	message, err := uuids.Message(load.Request{})
	require.NoError(t, err)
	assert.Regexp(t, `[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12} [a-z]{5} 2\d{3}-`, fmt.Sprint(message))
	for _, bad := range []string{`{`, `{"id": {{rand 2 1}}}`, `{{.X}}`, `{{nope}}`, `{"title": "x"}`, `{"name": "{{text -1}}"}`} {
		_, err := load.NewTemplate(method, method.Input(), bad)
		assert.ErrorIs(t, err, errors.InvalidArgument, bad)
	}
}

func TestReport(t *testing.T) {
	report := &load.Report{
		Method: "shop.Orders/Get", Kind: "single", Bus: "redis", Loop: "closed loop, 4 callers",
		Broken: []string{"p99 is <high>"},
		Result: &load.Result{
			Operations: 3, Completed: 2, Failed: 1, Errors: map[string]uint64{"not_found": 1},
			Seconds: []load.Second{
				{At: time.Second, Completed: 2, P50: time.Millisecond, P99: 2 * time.Millisecond},
				{At: 2 * time.Second, Failed: 1},
			},
		},
	}
	var csv, html strings.Builder
	require.NoError(t, report.WriteCSV(&csv))
	assert.Equal(t, "second,completed,failed,p50_us,p99_us\n1.000,2,0,1000.0,2000.0\n2.000,0,1,0.0,0.0\n", csv.String())
	require.NoError(t, report.WriteHTML(&html))
	assert.Contains(t, html.String(), "p99 is &lt;high&gt;")
	assert.Contains(t, html.String(), `points="0.00,2.00 100.00,98.00 "`)
	assert.Contains(t, html.String(), "not_found")
}
