package interop

import (
	"compress/gzip"
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// ours is dynpsrpc with its default features.
var ours = dynpsrpcWith(features{})

// dynpsrpcWith returns dynpsrpc with features that are off by default.
func dynpsrpcWith(f features) library {
	return library{
		name:   "dynpsrpc",
		server: func(t *testing.T, b broker, h handlers) serverPeer { t.Helper(); return newServer(t, b, h, f) },
		client: func(t *testing.T, b broker) clientPeer { t.Helper(); return newClient(t, b, f) },
		newError: func(code, text string, details ...proto.Message) error {
			return errors.NewError(errors.ErrorCode(code), errors.New(text), details...)
		},
		describe: func(err error) (failure, bool) {
			var e errors.Error
			if !errors.As(err, &e) {
				return failure{}, false
			}
			return failure{string(e.Code()), e.Error(), messages(e.Details()), e.ToHttp(), e.GRPCStatus().Code()}, true
		},
		withMetadata: dynamic.ContextWithMetadata,
		metadata: func(ctx context.Context) map[string]string {
			info, _ := dynamic.RequestInfoFromContext(ctx)
			return info.Metadata
		},
	}
}

// dynpsrpcOptions returns the options of a server or conn.
func dynpsrpcOptions(f features) dynamic.Option {
	logger := dynamic.WithLogger(slog.New(slog.DiscardHandler))
	if f.compression {
		return dynamic.Options(logger, dynamic.WithCompression(gzip.BestSpeed), dynamic.WithCompressionThreshold(1))
	}
	return logger
}

type dynpsrpcServer struct {
	server    *dynamic.Server
	rpc, jobs *dynamic.Registration
}

func newServer(t *testing.T, b broker, h handlers, f features) serverPeer {
	t.Helper()
	reg := newRegistry(t)
	service, err := reg.FindService(serviceName)
	require.NoError(t, err)
	jobsService, err := reg.FindService(jobsName)
	require.NoError(t, err)
	s := dynamic.NewServer(b.dynpsrpc(t), dynpsrpcOptions(f), dynamic.WithServerTimeout(callTimeout))
	unary := func(ctx context.Context, request text) (text, error) {
		response, err := h.unary(ctx, request.GetValue())
		return wrapperspb.String(response), err
	}
	affinity := dynamic.WithAffinity(func(context.Context, text) float32 { return h.affinity })
	flow := dynamic.Stream(func(s dynamic.ServerStream[text, text]) error { return h.serveStream(dynpsrpcStream(s)) })
	registration, err := s.Register(service, dynamic.Handlers{
		"Queue": dynamic.Unary(unary), "Every": dynamic.Unary(unary), "Best": dynamic.Unary(unary, affinity),
		"QueueIn": dynamic.Unary(unary), "OnlyIn": dynamic.Unary(unary), "EveryIn": dynamic.Unary(unary),
		"Flow": flow, "FlowIn": flow,
	})
	require.NoError(t, err)
	for _, method := range []string{"QueueIn", "OnlyIn", "EveryIn", "FlowIn"} {
		require.NoError(t, registration.RegisterTopic(method, h.topic()))
	}
	jobs, err := s.Register(jobsService, nil)
	require.NoError(t, err)
	t.Cleanup(s.Kill)
	return dynpsrpcServer{s, registration, jobs}
}

func (s dynpsrpcServer) publish(ctx context.Context, method string, topic []string, update string) error {
	return s.rpc.Publish(ctx, method, wrapperspb.String(update), topicOptions(topic)...)
}

func (s dynpsrpcServer) publishJob(ctx context.Context, update string) error {
	return s.jobs.Publish(ctx, "Next", wrapperspb.String(update))
}

func (s dynpsrpcServer) shutdown(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	assert.NoError(t, s.server.Shutdown(ctx))
}

func topicOptions(topic []string) []dynamic.RequestOption {
	if topic == nil {
		return nil
	}
	return []dynamic.RequestOption{dynamic.WithTopic(topic...)}
}

type dynpsrpcClient struct{ conn *dynamic.Conn }

func newClient(t *testing.T, b broker, f features) clientPeer {
	t.Helper()
	conn, err := dynamic.NewConn(b.dynpsrpc(t), newRegistry(t), dynpsrpcOptions(f),
		dynamic.WithClientTimeout(callTimeout), dynamic.WithSelectionTimeout(callTimeout))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return dynpsrpcClient{conn}
}

func (c dynpsrpcClient) close() { _ = c.conn.Close() }

func (c dynpsrpcClient) method(name string) (*dynamic.Client[text, text], error) {
	return dynamic.NewClient[text, text](c.conn, serviceName+"/"+name)
}

func (c dynpsrpcClient) call(ctx context.Context, method string, topic []string, request string) (string, error) {
	m, err := c.method(method)
	if err != nil {
		return "", err
	}
	response, err := m.Call(ctx, wrapperspb.String(request), topicOptions(topic)...)
	return response.GetValue(), err
}

func (c dynpsrpcClient) every(ctx context.Context, method string, topic []string, request string, n int) ([]string, error) {
	m, err := c.method(method)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	responses, err := m.CallMulti(ctx, wrapperspb.String(request), topicOptions(topic)...)
	if err != nil {
		return nil, err
	}
	return collect(ctx, responses, n, func(r *dynamic.Response[text]) string { return textOf(r.Result, r.Err) }), nil
}

func (c dynpsrpcClient) open(ctx context.Context, method string, topic []string) (stream, error) {
	m, err := c.method(method)
	if err != nil {
		return stream{}, err
	}
	s, err := m.OpenStream(ctx, topicOptions(topic)...)
	if err != nil {
		return stream{}, err
	}
	return dynpsrpcStream(s), nil
}

// dynpsrpcStream converts a stream of either side to the type of the tests.
func dynpsrpcStream(s interface {
	Channel() <-chan text
	Send(message text, opts ...dynamic.StreamOption) error
	Close(cause error) error
	Err() error
	Context() context.Context
},
) stream {
	send := func(message string) error { return s.Send(wrapperspb.String(message)) }
	return stream{messages: s.Channel(), send: send, close: s.Close, err: s.Err, context: s.Context()}
}

func (c dynpsrpcClient) subscribe(t *testing.T, method string, topic []string) <-chan string {
	t.Helper()
	return c.subscribeTo(t, serviceName+"/"+method, topicOptions(topic)...)
}

func (c dynpsrpcClient) subscribeJobs(t *testing.T) <-chan string {
	t.Helper()
	return c.subscribeTo(t, jobsName+"/Next")
}

func (c dynpsrpcClient) subscribeTo(t *testing.T, name string, opts ...dynamic.RequestOption) <-chan string {
	t.Helper()
	m, err := dynamic.NewClient[text, text](c.conn, name)
	require.NoError(t, err)
	subscription, err := m.Subscribe(t.Context(), opts...)
	require.NoError(t, err)
	return values(subscription.Channel())
}
