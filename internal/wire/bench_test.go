package wire_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

func BenchmarkAppendFrame(b *testing.B) {
	for kind, m := range allocMessages() {
		b.Run(schemaName[kind], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = m.AppendFrame(nil)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for kind, m := range allocMessages() {
		frame, err := m.AppendFrame(nil)
		require.NoError(b, err)
		b.Run(schemaName[kind], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				parseFrame(frame)
			}
		})
	}
}

func BenchmarkRoutingKey(b *testing.B) {
	frame, err := allocMessages()[wire.KindRequest].AppendFrame(nil)
	require.NoError(b, err)
	frame = wire.AppendRoutingKey(frame, "NormalRPC.REQ")
	b.ReportAllocs()
	for b.Loop() {
		_, _ = wire.RoutingKey(frame)
	}
}

func BenchmarkRequestChannel(b *testing.B) {
	topic := []string{"eu-west.1", "room_7"}
	b.ReportAllocs()
	for b.Loop() {
		wire.RequestChannel("MyService", "GetRegionStats", topic, true)
	}
}
