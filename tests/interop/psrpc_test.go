package interop

import (
	"context"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/livekit/psrpc"
	"github.com/livekit/psrpc/pkg/client"
	"github.com/livekit/psrpc/pkg/info"
	"github.com/livekit/psrpc/pkg/metadata"
	"github.com/livekit/psrpc/pkg/rand"
	"github.com/livekit/psrpc/pkg/server"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// theirs is psrpc with its default features.
var theirs = psrpcWith(features{})

// psrpcWith returns psrpc with features that are off by default.
func psrpcWith(f features) library {
	return library{
		name:   "psrpc",
		server: func(t *testing.T, b broker, h handlers) serverPeer { t.Helper(); return newPsrpcServer(t, b, h, f) },
		client: func(t *testing.T, b broker) clientPeer { t.Helper(); return newPsrpcClient(t, b, f) },
		newError: func(code, text string, details ...proto.Message) error {
			return psrpc.NewError(psrpc.ErrorCode(code), errors.New(text), details...)
		},
		describe: func(err error) (failure, bool) {
			var e psrpc.Error
			if !errors.As(err, &e) {
				return failure{}, false
			}
			return failure{string(e.Code()), e.Error(), messages(e.Details()), e.ToHttp(), e.GRPCStatus().Code()}, true
		},
		withMetadata: func(ctx context.Context, md map[string]string) context.Context {
			return metadata.NewContextWithOutgoingMetadata(ctx, md)
		},
		metadata: func(ctx context.Context) map[string]string { return metadata.IncomingHeader(ctx).Metadata },
	}
}

// messages returns those details of an error that are messages.
func messages(details []any) (found []proto.Message) {
	for _, detail := range details {
		if message, ok := detail.(proto.Message); ok {
			found = append(found, message)
		}
	}
	return found
}

// definition returns the same description of the service that psrpc's generated code would contain.
func definition(id string) *info.ServiceDefinition {
	d := &info.ServiceDefinition{Name: "Peer", ID: id}
	d.RegisterMethod("Queue", false, false, true, true)
	d.RegisterMethod("Best", true, false, true, false)
	d.RegisterMethod("Every", false, true, false, false)
	d.RegisterMethod("QueueIn", false, false, true, true)
	d.RegisterMethod("OnlyIn", false, false, false, true)
	d.RegisterMethod("EveryIn", false, true, false, false)
	d.RegisterMethod("Flow", false, false, true, true)
	d.RegisterMethod("FlowIn", false, false, true, true)
	d.RegisterMethod("Feed", false, true, false, false)
	d.RegisterMethod("FeedIn", false, true, false, false)
	return d
}

// jobsDefinition describes the service with the queue subscription.
func jobsDefinition(id string) *info.ServiceDefinition {
	d := &info.ServiceDefinition{Name: "Jobs", ID: id}
	d.RegisterMethod("Next", false, false, false, true)
	return d
}

// channelSize is the size of psrpc's buffers. If the buffer of a stream is full, psrpc drops
// messages, even between psrpc peers. That happens on a busy machine with the default size of 100.
const channelSize = 10_000

type psrpcServer struct{ rpc, jobs *server.RPCServer }

func newPsrpcServer(t *testing.T, b broker, h handlers, f features) serverPeer {
	t.Helper()
	psrpcBus, settle := b.psrpc(t, f)
	options := append(serverOptions(f), psrpc.WithServerTimeout(callTimeout), psrpc.WithServerChannelSize(channelSize))
	s := server.NewRPCServer(definition(rand.NewServerID()), psrpcBus, options...)
	unary := func(ctx context.Context, request text) (text, error) {
		response, err := h.unary(ctx, request.GetValue())
		return wrapperspb.String(response), err
	}
	affinity := func(context.Context, text) float32 { return h.affinity }
	flow := func(s psrpc.ServerStream[text, text]) error { return h.serveStream(psrpcStream(s)) }
	room := []string{h.topic()}
	require.NoError(t, errors.Join(
		server.RegisterHandler(s, "Queue", nil, unary, nil),
		server.RegisterHandler(s, "Best", nil, unary, affinity),
		server.RegisterHandler(s, "Every", nil, unary, nil),
		server.RegisterHandler(s, "QueueIn", room, unary, nil),
		server.RegisterHandler(s, "OnlyIn", room, unary, nil),
		server.RegisterHandler(s, "EveryIn", room, unary, nil),
		server.RegisterStreamHandler(s, "Flow", nil, flow, nil),
		server.RegisterStreamHandler(s, "FlowIn", room, flow, nil),
	))
	t.Cleanup(func() { s.Close(true) })
	settle()
	return psrpcServer{s, server.NewRPCServer(jobsDefinition(rand.NewServerID()), psrpcBus)}
}

func (s psrpcServer) publish(ctx context.Context, method string, topic []string, update string) error {
	return s.rpc.Publish(ctx, method, topic, wrapperspb.String(update))
}

func (s psrpcServer) publishJob(ctx context.Context, update string) error {
	return s.jobs.Publish(ctx, "Next", nil, wrapperspb.String(update))
}

func (s psrpcServer) shutdown(*testing.T) { s.rpc.Close(false) }

type psrpcClient struct {
	*client.RPCClient

	jobs   *client.RPCClient
	settle func()
}

func newPsrpcClient(t *testing.T, b broker, f features) clientPeer {
	t.Helper()
	psrpcBus, settle := b.psrpc(t, f)
	c, err := client.NewRPCClientWithStreams(definition(rand.NewClientID()), psrpcBus,
		psrpc.WithClientTimeout(callTimeout), psrpc.WithClientSelectTimeout(callTimeout), psrpc.WithClientChannelSize(channelSize))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	jobs, err := client.NewRPCClient(jobsDefinition(rand.NewClientID()), psrpcBus, psrpc.WithClientChannelSize(channelSize))
	require.NoError(t, err)
	t.Cleanup(jobs.Close)
	settle()
	return psrpcClient{c, jobs, settle}
}

func (c psrpcClient) close() { c.Close() }

func (c psrpcClient) call(ctx context.Context, method string, topic []string, request string) (string, error) {
	response, err := client.RequestSingle[text](ctx, c.RPCClient, method, topic, wrapperspb.String(request))
	return response.GetValue(), err
}

func (c psrpcClient) every(ctx context.Context, method string, topic []string, request string, n int) ([]string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	responses, err := client.RequestMulti[text](ctx, c.RPCClient, method, topic, wrapperspb.String(request))
	if err != nil {
		return nil, err
	}
	return collect(ctx, responses, n, func(r *psrpc.Response[text]) string { return textOf(r.Result, r.Err) }), nil
}

func (c psrpcClient) open(ctx context.Context, method string, topic []string) (stream, error) {
	s, err := client.OpenStream[text, text](ctx, c.RPCClient, method, topic)
	if err != nil {
		return stream{}, err
	}
	return psrpcStream(s), nil
}

func psrpcStream(s psrpc.Stream[text, text]) stream {
	send := func(message string) error { return s.Send(wrapperspb.String(message)) }
	return stream{messages: s.Channel(), send: send, close: s.Close, err: s.Err, context: s.Context()}
}

func (c psrpcClient) subscribe(t *testing.T, method string, topic []string) <-chan string {
	t.Helper()
	subscription, err := client.Join[text](t.Context(), c.RPCClient, method, topic)
	require.NoError(t, err)
	t.Cleanup(func() { _ = subscription.Close() })
	c.settle()
	return values(subscription.Channel())
}

func (c psrpcClient) subscribeJobs(t *testing.T) <-chan string {
	t.Helper()
	subscription, err := client.JoinQueue[text](t.Context(), c.jobs, "Next", nil)
	require.NoError(t, err)
	t.Cleanup(func() { _ = subscription.Close() })
	c.settle()
	return values(subscription.Channel())
}

// psrpcLog holds the lines that psrpc has logged. psrpc has one logger for the whole program.
var psrpcLog lines

type lines struct {
	mu    sync.Mutex
	lines []string
}

func (l *lines) logger() logr.Logger {
	return funcr.New(func(_, line string) {
		if afterTest.MatchString(line) {
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lines = append(l.lines, line)
	}, funcr.Options{})
}

// afterTest matches the lines that psrpc logs after a test has closed the connections to its broker.
// psrpc's bus cannot be closed.
var afterTest = regexp.MustCompile("redis: client is closed|use of closed network connection")

// take returns the lines since the last call.
func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := strings.Join(l.lines, "\n")
	l.lines = nil
	return all
}

func TestMain(m *testing.M) {
	psrpc.SetLogger(psrpcLog.logger())
	m.Run()
}
