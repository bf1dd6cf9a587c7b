package natsbus_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// payload is a frame of typical size that has no routing key yet.
var payload = append([]byte{0x12, 0xfe, 0x01}, make([]byte, 254)...)

// report is a [bus.DeliveryReport] that ignores its result.
type report struct{}

func (report) Delivered(int, error) {}

// BenchmarkPublish publishes frames through several configurations of the bus, and compares them
// with plain NATS messages. There are no subscribers.
func BenchmarkPublish(b *testing.B) {
	url := testenv.NATSProcess(b).URL()
	keyed := bus.Channel{Subject: "SRV.Bench", Key: "Method.REQ"}
	for _, bench := range []struct {
		name    string
		channel bus.Channel
		report  bus.DeliveryReport
		opts    []natsbus.Option
	}{
		{name: "Client", channel: bus.Channel{Subject: "CLI.Bench.ID.RES"}},
		{name: "Server", channel: keyed},
		{name: "Server/report", channel: keyed, report: report{}},
		{name: "Server/prefix", channel: keyed, opts: []natsbus.Option{natsbus.WithPrefix("staging.")}},
		{name: "Server/subject per method", channel: keyed, opts: []natsbus.Option{natsbus.WithSubjectPerMethod()}},
	} {
		b.Run("bus/"+bench.name, func(b *testing.B) {
			sender := newBus(b, url, bench.opts...)
			b.ReportAllocs()
			for b.Loop() {
				if err := sender.Publish(b.Context(), bench.channel, payload, bench.report); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("raw", func(b *testing.B) {
		sender := connect(b, url)
		b.ReportAllocs()
		for b.Loop() {
			if err := sender.Publish(keyed.Subject, payload); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRoundTrip sends a request and its response through the bus, and compares them with a
// plain NATS request and its reply.
func BenchmarkRoundTrip(b *testing.B) {
	url := testenv.NATSProcess(b).URL()
	b.Run("bus", func(b *testing.B) {
		client, server := newBus(b, url), newBus(b, url)
		request := bus.Channel{Subject: "SRV.Bench.Q", Key: "Method.REQ"}
		response := bus.Channel{Subject: "CLI.Bench.ID.RES"}
		_, err := server.Subscribe(b.Context(), request, bus.Queue, func([]byte) {
			_ = server.Publish(b.Context(), response, payload, nil)
		})
		require.NoError(b, err)
		back := make(chan []byte, 1)
		_, err = client.Subscribe(b.Context(), response, bus.Broadcast, func(frame []byte) { back <- frame })
		require.NoError(b, err)
		b.ReportAllocs()
		for b.Loop() {
			if err := client.Publish(b.Context(), request, payload, report{}); err != nil {
				b.Fatal(err)
			}
			<-back
		}
	})
	b.Run("raw", func(b *testing.B) {
		client, server := connect(b, url), connect(b, url)
		_, err := server.QueueSubscribe("SRV.Bench.Q", "bus", func(m *nats.Msg) { _ = m.Respond(payload) })
		require.NoError(b, err)
		require.NoError(b, server.Flush())
		b.ReportAllocs()
		for b.Loop() {
			if _, err := client.RequestWithContext(b.Context(), "SRV.Bench.Q", payload); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkReceive compares frames delivered through the bus with plain NATS messages.
func BenchmarkReceive(b *testing.B) {
	url := testenv.NATSProcess(b).URL()
	channel := bus.Channel{Subject: "SRV.Bench", Key: "Method.REQ"}
	frame := wire.AppendRoutingKey(payload, channel.Key)
	run := func(name string, listen func(b *testing.B, received func())) {
		b.Run(name, func(b *testing.B) {
			var count atomic.Int64
			sender, done := connect(b, url), make(chan struct{})
			listen(b, func() {
				if count.Add(1) == int64(b.N) {
					close(done)
				}
			})
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if err := sender.Publish(channel.Subject, frame); err != nil {
					b.Fatal(err)
				}
			}
			select {
			case <-done:
			case <-time.After(10 * time.Second):
				b.Fatal("frames are missing", b.N, count.Load())
			}
		})
	}
	run("bus", func(b *testing.B, received func()) {
		_, err := newBus(b, url).Subscribe(b.Context(), channel, bus.Broadcast, func([]byte) { received() })
		require.NoError(b, err)
	})
	run("raw", func(b *testing.B, received func()) {
		nc := connect(b, url)
		_, err := nc.Subscribe(channel.Subject, func(*nats.Msg) { received() })
		require.NoError(b, err)
		require.NoError(b, nc.Flush())
	})
}

// BenchmarkQueueMix measures calls of 64 concurrent callers to one server. It compares the results
// with and without processes that serve another method of the service.
func BenchmarkQueueMix(b *testing.B) {
	for _, subscribers := range []int{0, 1, 20, 50} {
		b.Run(fmt.Sprint("1+", subscribers), func(b *testing.B) {
			url := testenv.NATSProcess(b).URL()
			client, server := newBus(b, url), newBus(b, url)
			response := bus.Channel{Subject: "CLI.Svc.ID.RES"}
			_, err := server.Subscribe(b.Context(), requests, bus.Queue, func([]byte) {
				_ = server.Publish(b.Context(), response, payload, nil)
			})
			require.NoError(b, err)
			for range subscribers {
				_, err := newBus(b, url).Subscribe(b.Context(), others, bus.Queue, func([]byte) {})
				require.NoError(b, err)
			}
			back := make(chan struct{}, 1<<16)
			_, err = client.Subscribe(b.Context(), response, bus.Broadcast, func([]byte) { back <- struct{}{} })
			require.NoError(b, err)
			b.SetParallelism(max(1, 64/runtime.GOMAXPROCS(0)))
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := client.Publish(b.Context(), requests, payload, report{}); err != nil {
						b.Error(err)
					}
					<-back
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}
