package fleet

import (
	"log/slog"
	"strings"
	"time"

	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// tapRequestTimeout is how long a server waits for a client to say what it wants to watch.
	tapRequestTimeout = 5 * time.Second
	// tapWindow is the maximum number of events that are sent but not yet acknowledged.
	tapWindow = 64
	// maxTapStreams is the maximum number of tap streams, including those whose clients have not
	// said yet what they want to watch.
	maxTapStreams = 64
)

// tapStream is the server's side of a tap.
type tapStream = dynamic.ServerStream[*dynamicpb.Message, *dynamicpb.Message]

// tapHandler returns the handler of the method Tap.
func (s *Status) tapHandler() dynamic.Handler {
	return dynamic.Stream(func(stream tapStream) error {
		if err := s.authorize(stream.Context(), VerbTap); err != nil {
			return err
		}
		request, err := receiveTapRequest(stream)
		if err != nil {
			return err
		}
		added, err := newWatch(request, s.options.tap)
		if err != nil {
			return err
		}
		if err := s.watches.add(added); err != nil {
			return err
		}
		defer s.watches.remove(added)
		return s.watches.serve(stream, request, added)
	}, dynamic.WithStreamWindow(tapWindow))
}

// receiveTapRequest waits for the first message of a client.
func receiveTapRequest(stream tapStream) (*TapRequest, error) {
	timer := time.NewTimer(tapRequestTimeout)
	defer timer.Stop()
	select {
	case message, open := <-stream.Channel():
		if !open {
			return nil, stream.Err()
		}
		return fromMessage[TapRequest](message), nil
	case <-timer.C:
		return nil, errors.NewErrorf(errors.DeadlineExceeded, "the client has not said within %v what to watch", tapRequestTimeout)
	}
}

// serve sends events until the client closes the stream or the server stops. It logs which client
// watches the server.
func (w *watches) serve(stream tapStream, request *TapRequest, watch *watch) error {
	client, _ := dynamic.RequestInfoFromContext(stream.Context())
	logger := w.server.Logger().With(slog.String("server", w.server.ID()), slog.String("client", client.ClientID))
	logger.Warn("dynpsrpc: a client watches the traffic of this server",
		slog.String("methods", shorten(strings.Join(request.Methods, " "))), slog.Bool("payloads", request.Payloads),
		slog.String("filter", shorten(request.Filter)))
	sent := 0
	defer func() { logger.Info("dynpsrpc: a client has stopped watching this server", slog.Int("events", sent)) }()
	for {
		for event := watch.next(stream.Context()); event != nil; event = watch.next(stream.Context()) {
			if err := stream.Send(toMessage(event)); err != nil {
				return err
			}
			sent++
		}
		select {
		case <-watch.wakeup:
		case <-stream.Context().Done():
			return stream.Err()
		}
	}
}
