package regression

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// forger is a misbehaving peer. It publishes frames that no correct peer would send.
type forger struct {
	*testing.T

	bus bus.Bus
}

type frame interface {
	AppendFrame(dst []byte) ([]byte, error)
}

func (f forger) send(channel wire.Channel, message frame) {
	f.Helper()
	encoded, err := message.AppendFrame(nil)
	require.NoError(f, err)
	f.sendRaw(channel, encoded)
}

func (f forger) sendRaw(channel wire.Channel, encoded []byte) {
	f.Helper()
	require.NoError(f, f.bus.Publish(f.Context(), bus.Channel(channel), encoded, nil))
}

// listen subscribes to a channel. It returns a channel that receives the values of the envelopes,
// and a function that ends the subscription.
func (f forger) listen(channel wire.Channel) (<-chan []byte, func()) {
	f.Helper()
	received := make(chan []byte, 1000)
	subscription, err := f.bus.Subscribe(f.Context(), bus.Channel(channel), bus.Broadcast, func(frame []byte) {
		envelope, err := wire.ParseEnvelope(frame)
		if assert.NoError(f, err) {
			received <- envelope.Value
		}
	})
	require.NoError(f, err)
	return received, subscription.Close
}

// awaitRequest returns the next request from a channel that listen has returned.
func (f forger) awaitRequest(received <-chan []byte) wire.Request {
	f.Helper()
	request, err := wire.ParseRequest(testkit.Soon(f, received, "request"))
	require.NoError(f, err)
	return request
}

// claim sends a claim in the name of each of the given number of servers.
func (f forger) claim(request wire.Request, servers int) {
	f.Helper()
	channel := wire.ClaimRequestChannel(testkit.WireName, string(request.ClientID))
	for i := range servers {
		f.send(channel, &wire.ClaimRequest{
			RequestID: request.RequestID, ServerID: fmt.Appendf(nil, "SRV_forged%d", i), Affinity: 0.5,
		})
	}
}

// respond sends the same response several times.
func (f forger) respond(request wire.Request, times int) {
	f.Helper()
	channel := wire.ResponseChannel(testkit.WireName, string(request.ClientID))
	for range times {
		f.send(channel, &wire.Response{
			RequestID: request.RequestID, ServerID: []byte("SRV_forged0"), SentAt: time.Now().UnixNano(),
			Body: wire.Body{Message: &api.MyResponse{Text: "forged"}},
		})
	}
}

// wrongFrames returns frames that are invalid on every channel.
func wrongFrames(t *testing.T) map[string][]byte {
	t.Helper()
	frames := map[string][]byte{"empty": nil, "random": {0xff, 0x13, 0x00, 0x7f}, "text": []byte("not a frame")}
	for name, message := range map[string]proto.Message{
		// The types of both messages are known to the program.
		"Address": &api.Address{Region: "eu"}, "MyRequest": &api.MyRequest{Name: "x"},
	} {
		encoded, err := wire.AppendMessageFrame(nil, wire.Body{Message: message}, "example.compiled.v1."+name, 0)
		require.NoError(t, err)
		frames[name] = encoded
	}
	frames["truncated"] = frames["Address"][:len(frames["Address"])-2]
	return frames
}
