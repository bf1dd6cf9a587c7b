package e2e

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/example/compiled/api"
)

// failures lists the names for which the handler fails. Each entry describes the error that the
// caller must receive. An empty text means that the text of the error is not checked.
var failures = []struct {
	name    string
	code    errors.ErrorCode
	text    string
	details bool
}{
	{"coded", errors.NotFound, "room gone", true},
	{"wrapped", errors.NotFound, "room gone", true},
	{"own code", "my_code", "mine", false},
	{"plain", errors.Unknown, "plain text", false},
	{"panic", errors.Internal, "", false},
}

var errDetailed = errors.NewError(errors.NotFound, errors.New("room gone"), &errdetails.ErrorInfo{Reason: "closed"})

func fail(name string) error {
	switch name {
	case "coded":
		return errDetailed
	case "wrapped":
		return fmt.Errorf("this is not seen: %w", errDetailed)
	case "own code":
		return errors.NewErrorf("my_code", "mine")
	case "plain":
		return errors.New("plain text")
	case "panic":
		panic("secret")
	default:
		return nil
	}
}

// testFailures checks, for every method kind, that the error returned by a handler reaches the
// caller and that the server can serve the next request.
func testFailures(t *testing.T, network Network) {
	w := newWorld(t, network)
	server := w.server()
	handler := dynamic.Unary(func(_ context.Context, request *api.MyRequest) (*api.MyResponse, error) {
		return respond(request), fail(request.GetName())
	})
	streamHandler := dynamic.Stream(func(stream dynamic.ServerStream[*api.MyServerMessage, *api.MyClientMessage]) error {
		return fail(string((<-stream.Channel()).GetPayload()))
	})
	handlers, streamHandlers := dynamic.Handlers{}, dynamic.Handlers{}
	for _, kind := range callKinds {
		handlers[kind] = handler
	}
	for _, kind := range streamKinds {
		streamHandlers[kind] = streamHandler
	}
	w.serve(server, calls, handlers)
	w.serve(server, streams, streamHandlers)
	conn := w.conn()
	for _, failure := range failures {
		check := func(t testing.TB, err error) {
			t.Helper()
			coded := requireCode(t, failure.code, err)
			if failure.text != "" {
				assert.Equal(t, failure.text, coded.Error())
			}
			assert.NotContains(t, coded.Error(), "secret")
			if !failure.details {
				assert.Empty(t, coded.Details())
				return
			}
			require.Len(t, coded.Details(), 1)
			requireEqual(t, &errdetails.ErrorInfo{Reason: "closed"}, coded.Details()[0].(proto.Message))
		}
		for _, kind := range callKinds {
			t.Run(failure.name+"/"+kind, func(t *testing.T) {
				call := newGeneratedCall(t, conn, kind)
				_, err := call(t.Context(), sample(failure.name))
				check(t, err)
				_, err = call(t.Context(), sample("fine"), dynamic.WithExpectedResponses(1))
				require.NoError(t, err)
			})
		}
		for _, kind := range streamKinds {
			t.Run(failure.name+"/stream/"+kind, func(t *testing.T) {
				stream := openGenerated(t, conn, kind)
				// Ignore the error: the stream may end before the message is acknowledged.
				_ = stream.Send(&api.MyClientMessage{Payload: []byte(failure.name)})
				soon(t, stream.Context().Done(), "end of the stream")
				check(t, stream.Err())
				ended(t, stream.Channel(), "after the handler has returned")
			})
		}
	}
}

type generatedStream = dynamic.ClientStream[*api.MyClientMessage, *api.MyServerMessage]

// openGenerated opens a stream with the generated message types. The test does not have to close
// the stream, because it ends when conn is closed.
func openGenerated(t testing.TB, conn *dynamic.Conn, method string, opts ...dynamic.RequestOption) generatedStream {
	t.Helper()
	client, err := dynamic.NewClient[*api.MyClientMessage, *api.MyServerMessage](conn, fullName(streams, method))
	require.NoError(t, err)
	stream, err := client.OpenStream(context.Background(), opts...)
	require.NoError(t, err)
	return stream
}
