package fleet

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// BenchmarkServe measures a call over the in-process bus to a server that counts its calls (on),
// and to one that does not (off).
func BenchmarkServe(b *testing.B) {
	for _, mode := range []string{"off", "on"} {
		b.Run(mode, func(b *testing.B) {
			s := newServed(b)
			if mode == "off" {
				require.NoError(b, s.status.Close())
			}
			client, err := dynamic.NewClient[*wrapperspb.StringValue, *wrapperspb.StringValue](s.conn, "shop.Orders/Get")
			require.NoError(b, err)
			request := wrapperspb.String("0123456789012345678901234567890123456789012345678901234567890123")
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.Call(b.Context(), request); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMethodCounters measures the cost of counting a call, without the cost of the call
// itself.
func BenchmarkMethodCounters(b *testing.B) {
	var recorder dynamic.MethodRecorder = &methodCounters{}
	end := dynamic.CallEnd{Duration: 123456, RequestBytes: 100, ResponseBytes: 100}
	b.ReportAllocs()
	for b.Loop() {
		recorder.RecordStart()
		recorder.RecordEnd(end)
	}
}
