package dynamic_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// reports collects the delivery reports that the bus withholds from a call. The context of each
// call contains a value of this type.
type reports []bus.DeliveryReport

type reportsKey struct{}

// untimelyBus withholds delivery reports if the context of the call contains a reports value. It
// delivers each response twice at the same time.
type untimelyBus struct{ bus.Bus }

func (b untimelyBus) Publish(ctx context.Context, channel bus.Channel, frame []byte, report bus.DeliveryReport) error {
	if channel.Name == responseChannel("CLI_test").Name {
		var once sync.WaitGroup
		defer once.Wait()
		once.Go(func() { _ = b.Bus.Publish(ctx, channel, frame, nil) })
	}
	if kept, ok := ctx.Value(reportsKey{}).(*reports); ok && report != nil {
		*kept = append(*kept, report)
		report = nil
	}
	return b.Bus.Publish(ctx, channel, frame, report)
}

// TestCall_HearsNothingOfOthers checks that calls that use the same callInbox one after the other
// do not affect each other. It makes calls that succeed, time out or are canceled. Once a call has
// ended, the bus reports that the request of this call was lost. No later call may receive that
// report.
func TestCall_HearsNothingOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, untimelyBus{bus.NewLocal()})
	w.serve(t, dynamic.Handlers{"Echo": identity[text]()})
	client := textClient(t, w.conn, echo)
	first := dynamic.WithSelectionOpts(dynamic.SelectionOpts{AcceptFirstAvailable: true})
	patient := dynamic.WithRequestTimeout(time.Minute)

	ended := make(chan reports, 100)
	var callers, teller sync.WaitGroup
	teller.Go(func() {
		for kept := range ended {
			for _, report := range kept {
				report.Delivered(0, nil)
				report.Delivered(bus.Unknown, errors.New("lost"))
			}
		}
	})
	for caller := range 16 {
		callers.Go(func() {
			for n := range 25 {
				want := fmt.Sprintf("%d/%d", caller, n)
				call := func(ctx context.Context, allowed error, opts ...dynamic.RequestOption) {
					var kept reports
					response, err := client.Call(context.WithValue(ctx, reportsKey{}, &kept), wrapperspb.String(want), opts...)
					if err == nil {
						assert.Equal(t, want, response.GetValue())
					} else {
						assert.ErrorIs(t, err, allowed)
					}
					ended <- kept
				}
				ctx, cancel := context.WithCancel(t.Context())
				soon := rand.N(time.Millisecond)
				call(context.Background(), nil, patient)
				call(context.Background(), errors.ErrRequestTimedOut, dynamic.WithRequestTimeout(soon))
				call(context.Background(), nil, patient, first)
				time.AfterFunc(soon, cancel)
				call(ctx, context.Canceled, patient)
				cancel()
			}
		})
	}
	callers.Wait()
	close(ended)
	teller.Wait()
	require.NotZero(t, w.conn.Stats().Unmatched)
}
