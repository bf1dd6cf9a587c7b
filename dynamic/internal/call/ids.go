package call

import (
	"log/slog"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/internal/transport"
	"github.com/dynpsrpc/dynpsrpc/internal/id"
	"github.com/dynpsrpc/dynpsrpc/internal/logthrottle"
)

// idLogInterval is the minimum time between two log lines about invalid IDs.
const idLogInterval = time.Second

// ids creates the IDs of requests and streams.
type ids struct {
	// generate is Config.NewID. It is nil if all IDs are random.
	generate func(prefix string) string
	logger   *slog.Logger
	// throttle limits how often errors about invalid IDs are logged.
	throttle logthrottle.Throttle
}

// newRequest returns the ID of a new request.
func (i *ids) newRequest() id.Call {
	if i.generate == nil {
		return id.NewRequest()
	}
	return i.generated(id.RequestPrefix, id.NewRequest)
}

// newStream returns the ID of a new stream.
func (i *ids) newStream() id.Call {
	if i.generate == nil {
		return id.NewStream()
	}
	return i.generated(id.StreamPrefix, id.NewStream)
}

// generated returns an ID from the function generate. If that ID is invalid, it returns a random ID
// instead, and logs an error at most once per idLogInterval.
func (i *ids) generated(prefix string, random func() id.Call) id.Call {
	generated := i.generate(prefix)
	if callID, ok := id.ParseCall([]byte(generated)); ok && id.IsPlain(generated) {
		return callID
	}
	if count, ok := i.throttle.Allow(idLogInterval); ok {
		i.logger.Error("dynpsrpc: the ID generator has returned an invalid ID; a random one is used",
			slog.String("id", transport.Shorten(generated, transport.MaxLoggedName)), slog.String("prefix", prefix), slog.Uint64("ids", count))
	}
	return random()
}
