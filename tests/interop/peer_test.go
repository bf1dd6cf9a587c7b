package interop

import (
	"context"
	_ "embed"
	"regexp"
	"strconv"
	"testing"
	"testing/fstest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

const (
	serviceName = "interop.Peer"
	jobsName    = "interop.Jobs"
	// callTimeout is the timeout of calls that must succeed. It is long, because the tests share a
	// busy machine.
	callTimeout = 20 * time.Second
)

type text = *wrapperspb.StringValue

// handlers are the handlers of a server of either library.
type handlers struct {
	// unary serves all single calls and multi calls.
	unary func(ctx context.Context, request string) (string, error)
	// stream serves all streams. If it is nil, each message is echoed.
	stream func(s stream) error
	// affinity is the affinity for the method Best.
	affinity float32
	// room is the topic for the methods with topics. The default is "red".
	room string
}

// answers returns handlers that answer each request with the name of the server and the request.
func answers(name string) handlers {
	return handlers{affinity: 0.5, unary: func(_ context.Context, request string) (string, error) {
		return name + " " + request, nil
	}}
}

func (h handlers) topic() string {
	if h.room == "" {
		return "red"
	}
	return h.room
}

func (h handlers) serveStream(s stream) error {
	if h.stream != nil {
		return h.stream(s)
	}
	for message := range s.messages {
		if err := s.send(message.GetValue()); err != nil {
			return err
		}
	}
	return nil
}

// stream is one side of a stream of either library.
type stream struct {
	messages <-chan text
	send     func(message string) error
	close    func(cause error) error
	err      func() error
	context  context.Context
}

// serverPeer is a server that serves all methods of the service.
type serverPeer interface {
	publish(ctx context.Context, method string, topic []string, update string) error
	// publishJob publishes an update on the queue subscription.
	publishJob(ctx context.Context, update string) error
	// shutdown waits for the running requests and stops the server.
	shutdown(t *testing.T)
}

// clientPeer is a client that can call all methods of the service.
type clientPeer interface {
	call(ctx context.Context, method string, topic []string, request string) (string, error)
	// every makes a multi call and returns the first n responses, or those that have arrived when
	// ctx ends. The response of a server that has failed is the text of its error.
	every(ctx context.Context, method string, topic []string, request string, n int) ([]string, error)
	open(ctx context.Context, method string, topic []string) (stream, error)
	subscribe(t *testing.T, method string, topic []string) (updates <-chan string)
	// subscribeJobs subscribes to the queue subscription.
	subscribeJobs(t *testing.T) (updates <-chan string)
	close()
}

// failure is what a caller can see of an error.
type failure struct {
	code, text string
	details    []proto.Message
	http       int
	grpc       codes.Code
}

// library creates servers and clients of either psrpc or dynpsrpc. Each server and each client has
// its own connection.
type library struct {
	name   string
	server func(t *testing.T, b broker, h handlers) serverPeer
	client func(t *testing.T, b broker) clientPeer
	// newError returns an error for a handler to return.
	newError func(code, text string, details ...proto.Message) error
	// describe converts an error of a call. The result is false if the error has no code.
	describe func(err error) (failure, bool)
	// withMetadata returns a context for calls with metadata.
	withMetadata func(ctx context.Context, metadata map[string]string) context.Context
	// metadata returns the metadata of a request from the context of its handler.
	metadata func(ctx context.Context) map[string]string
}

//go:embed interop.proto
var source []byte

func newRegistry(t *testing.T) *registry.Registry {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"interop.proto": {Data: source}}, "interop.proto"))
	return reg
}

// values returns a channel that receives the text of each update.
func values(updates <-chan text) <-chan string {
	out := make(chan string, 10_000)
	go func() { // It ends when the subscription ends.
		defer close(out)
		for update := range updates {
			out <- update.GetValue()
		}
	}()
	return out
}

// collect returns the first n responses to a multi call.
func collect[T any](ctx context.Context, from <-chan T, n int, read func(T) string) []string {
	var responses []string
	for len(responses) < n {
		select {
		case response, ok := <-from:
			if !ok {
				return responses
			}
			responses = append(responses, read(response))
		case <-ctx.Done():
			return responses
		}
	}
	return responses
}

func textOf(response text, err error) string {
	if err != nil {
		return err.Error()
	}
	return response.GetValue()
}

var subscriptionCount = regexp.MustCompile(` sub=(\d+)`)

// psrpc sends its subscriptions to Redis in the background. settleRedis waits until all of them
// have most likely arrived, that is, until their number has not changed for 150 ms.
func settleRedis(t *testing.T, c *redis.Client) {
	t.Helper()
	const interval, unchanged = 10 * time.Millisecond, 15
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	last := 0
	for same := 0; same < unchanged; same++ {
		clients, err := c.ClientList(t.Context()).Result()
		require.NoError(t, err)
		count := 0
		for _, match := range subscriptionCount.FindAllStringSubmatch(clients, -1) {
			n, err := strconv.Atoi(match[1])
			require.NoError(t, err)
			count += n
		}
		if count != last {
			last, same = count, 0
		}
		<-ticker.C
	}
}
