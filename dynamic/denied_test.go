package dynamic_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

var errDenied = errors.NewErrorf(errors.PermissionDenied, "the broker denies it")

// psrpc has no cancellation channels, so a broker may deny access to them. Calls must still work
// then. The server and the conn must each log one warning.
func TestCancel_Denied(t *testing.T) {
	t.Parallel()
	for name, deny := range map[string]func(report bus.DeliveryReport) error{
		"Publish fails": func(bus.DeliveryReport) error { return errDenied },
		"the report fails": func(report bus.DeliveryReport) error {
			report.Delivered(bus.Unknown, errDenied)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			isCancel := func(channel bus.Channel) bool { return strings.HasSuffix(channel.Name, "|CANCEL") }
			b, log := newFakeBus(), &capturedLog{}
			logger := slog.New(log)
			b.subscribe = func(
				ctx context.Context, channel bus.Channel, mode bus.Mode, handler bus.Handler,
			) (bus.Subscription, error) {
				if isCancel(channel) {
					return nil, errDenied
				}
				return b.Bus.Subscribe(ctx, channel, mode, handler)
			}
			var cancels atomic.Int64
			b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
				if isCancel(channel) {
					cancels.Add(1)
					return deny(report)
				}
				return b.Bus.Publish(ctx, channel, frame, report)
			}
			w := newWorldOn(t, b, dynamic.WithLogger(logger))
			// The handlers block longer than the calls, because no cancellation reaches them.
			block := newBlocker()
			t.Cleanup(func() { close(block.release) })
			w.serve(t, dynamic.Handlers{"Direct": identity[text](), "Echo": dynamic.Unary(block.handle)})
			require.Len(t, log.all(), 1, "the server's warning")
			assert.Equal(t, slog.LevelWarn, log.all()[0]["level"])

			conn, err := dynamic.NewConn(b, w.registry, patientConn, dynamic.WithLogger(logger))
			require.NoError(t, err)
			defer conn.Close()
			client := textClient(t, conn, echo)
			for range 3 {
				ctx, abandon := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { // this goroutine ends with the call
					_, err := client.Call(ctx, wrapperspb.String("hi"), dynamic.WithRequestTimeout(time.Hour))
					done <- err
				}()
				requireSoon(t, block.started, "the request")
				abandon()
				requireCode(t, errors.Canceled, requireSoon(t, done, "the end of the call"))
			}
			assert.EqualValues(t, 1, cancels.Load(), "no more are sent after the first one was denied")
			assert.Len(t, log.all(), 2, "the conn's warning")
			_, err = w.call(t, direct, "hi")
			require.NoError(t, err)
		})
	}
}

// If the bus denies a subscription or a publication, the error keeps its code. This applies to
// registering a service, creating a client and making a call.
func TestBusDenies_CodeIsKept(t *testing.T) {
	t.Parallel()
	for _, denial := range []error{errDenied, errors.NewErrorf(errors.ResourceExhausted, "too many subscriptions")} {
		coded, _ := errors.AsType[errors.Error](denial)
		b := newFakeBus()
		w := newWorldOn(t, b)
		service := descriptor(t, w.registry, "test.Echoes")
		b.subscribe = func(
			ctx context.Context, channel bus.Channel, mode bus.Mode, handler bus.Handler,
		) (bus.Subscription, error) {
			if strings.HasSuffix(channel.Name, "|CANCEL") {
				return b.Bus.Subscribe(ctx, channel, mode, handler)
			}
			return nil, denial
		}
		_, err := w.server.Register(service, nil, dynamic.AllowMissing())
		requireCode(t, coded.Code(), err)
		require.ErrorIs(t, err, denial)
		_, err = dynamic.NewClient[text, text](w.conn, echo)
		requireCode(t, coded.Code(), err)

		b.subscribe = nil
		b.publish = func(context.Context, bus.Channel, []byte, bus.DeliveryReport) error { return denial }
		_, err = w.call(t, echo, "hi")
		requireCode(t, coded.Code(), err)
		requireFacts(t, errors.ReasonRefused, err)
		b.publish = func(_ context.Context, _ bus.Channel, _ []byte, report bus.DeliveryReport) error {
			report.Delivered(bus.Unknown, denial)
			return nil
		}
		_, err = w.call(t, echo, "hi")
		requireCode(t, coded.Code(), err)
		requireFacts(t, errors.ReasonRefused, err)
		b.publish = nil
	}
}

// A peer cannot flood the log with requests whose responses cannot be sent. The server counts all
// of them, but logs only a few.
func TestServer_AnswersThatCannotBeSentAreLoggedRarely(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, log := newFakeBus(), &capturedLog{}
		w := newWorldOn(t, b, dynamic.WithLogger(slog.New(log)))
		w.serve(t, dynamic.Handlers{"Direct": identity[text]()})
		b.publish = func(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
			if strings.HasSuffix(channel.Name, "|RES") {
				return errors.NewErrorf(errors.InvalidArgument, "no subject")
			}
			return b.Bus.Publish(ctx, channel, frame, report)
		}
		const frames = 1000
		for i := range frames {
			request := newRequest(fmt.Sprintf("REQ_peer%08d", i), "x")
			request.ClientID = []byte(strings.Repeat("c", 3000))
			require.NoError(t, b.Publish(t.Context(), requestChannel("Direct"), encode(t, request), nil))
		}
		synctest.Wait()
		assert.EqualValues(t, frames, w.server.Stats().Unsent)
		require.Len(t, log.all(), 1, "one line a second, and the clock stood still")
		assert.Less(t, len(log.all()[0]["channel"].(string)), 200)
	})
}
