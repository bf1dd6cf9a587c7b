package call

import (
	"log/slog"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/stream"
	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/dedup"
	"github.com/dynpsrpc/dynpsrpc/internal/logthrottle"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// streams holds the open streams of an engine, and what they share.
type streams struct {
	core  *core
	table stream.Table
	// decompressed limits the memory that decompressed stream messages use.
	decompressed transport.Budget
	// dedup recognizes stream messages that the bus delivers a second time. They are dropped.
	dedup dedup.Cache
	// skewLog limits how often warnings about servers with wrong clocks are logged.
	skewLog logthrottle.Throttle

	mu sync.Mutex
	// warnedServers contains the IDs of servers whose clocks are known to be wrong, so that the
	// engine warns about each of them only once.
	warnedServers map[string]bool
}

// streamChild implements Child for a stream.
type streamChild struct{ *stream.Stream }

// End implements Child. It closes the stream when the engine or its bus has been closed. If the
// engine was closed, the server receives errors.ErrStreamClosed, which stands for a stream that was
// closed without an error. psrpc does the same.
func (s streamChild) End(err error) {
	if errors.Is(err, errors.ErrClientClosed) {
		err = nil
	}
	_ = s.Close(err)
}

// add adds a stream to the table and to the children of the engine. If the engine is closed, add
// fails with the error of the engine. It fails with stream.ErrExists if another stream has the same
// ID. This happens if Config.NewID creates IDs that are not unique.
func (s *streams) add(added *stream.Stream) error {
	if err := s.core.Track(streamChild{added}); err != nil {
		return err
	}
	if err := s.table.Add(added); err != nil {
		s.core.Untrack(streamChild{added})
		return err
	}
	return nil
}

// remove undoes add.
func (s *streams) remove(removed *stream.Stream) {
	s.core.Untrack(streamChild{removed})
	s.table.Remove(removed)
}

// onFrame passes a frame from the channel for stream frames to its stream. It never blocks.
func (s *streams) onFrame(channel bus.Channel, frame []byte) {
	parsed, expanded, err := transport.Decode(frame, wire.KindStream, s.core.config.Decompression, wire.ParseStream)
	if err != nil {
		s.core.drops.AddBad(channel, err)
		return
	}
	if !s.table.Dispatch(&parsed, expanded) {
		s.core.drops.Add(transport.DropUnmatched, transport.DroppedFrame{Channel: channel.Name})
	}
}

// maxWarnedServers is the maximum number of servers with a wrong clock that an engine
// remembers. When the limit is reached, the engine forgets all of them and later warns about
// them once more.
const maxWarnedServers = 10_000

// warnClockSkew logs a warning about the clock of a server, at most once per server. If the method
// does not require claims, the client does not know the ID of the server, and server is empty. The
// warning is then logged at most once per method.
func (s *streams) warnClockSkew(method *registry.Method, server string) {
	peer := server
	if peer == "" {
		peer = method.FullName()
	}
	s.mu.Lock()
	warned := s.warnedServers[peer]
	if !warned {
		if s.warnedServers == nil || len(s.warnedServers) >= maxWarnedServers {
			s.warnedServers = map[string]bool{}
		}
		s.warnedServers[peer] = true
	}
	s.mu.Unlock()
	if warned {
		return
	}
	if servers, ok := s.skewLog.Allow(transport.SkewLogInterval); ok {
		s.core.config.Logger.Warn("dynpsrpc: server clock is skewed",
			slog.String("server", transport.Shorten(server, transport.MaxLoggedName)),
			slog.String("method", method.FullName()), slog.Uint64("servers", servers))
	}
}
