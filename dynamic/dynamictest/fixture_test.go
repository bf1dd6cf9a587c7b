package dynamictest_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/bus/bustest"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/dynamictest"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func callHello(ctx context.Context, conn *dynamic.Conn, opts ...dynamic.RequestOption) (string, error) {
	response, err := dynamic.Invoke(ctx, conn, "greeting.Greeter/Hello", wrapperspb.String("Ada"), opts...)
	if err != nil {
		return "", err
	}
	return response.(text).GetValue(), nil
}

// TestNew_ClosesEverything checks that the end of the test closes everything that the fixture has
// created, and the bus that it was given.
func TestNew_ClosesEverything(t *testing.T) {
	t.Parallel()
	for _, opts := range [][]dynamictest.Option{nil, {dynamictest.WithBus(bus.NewLocal())}} {
		var f *dynamictest.Fixture
		var server *dynamic.Server
		var conn *dynamic.Conn
		failures := runTest(func(tb testing.TB) {
			f = dynamictest.New(tb, greeter(), dynamic.Handlers{"Hello": dynamic.Unary(hello)}, opts...)
			server, _ = f.AddServer(nil)
			conn = f.AddConn()
		})
		assert.Empty(t, failures)
		for _, done := range []<-chan struct{}{
			f.Server.Done(), server.Done(), f.Conn.Done(), conn.Done(), f.Bus.Done(),
		} {
			<-done
		}
		assert.Equal(t, []string{"SRV_test1", "SRV_test2", "CLI_test1", "CLI_test2"},
			[]string{f.Server.ID(), server.ID(), f.Conn.ID(), conn.ID()})
	}
}

// TestNew_Options checks that options apply to all servers and conns, and that the options of a
// single server or conn take precedence. Nil options are ignored.
func TestNew_Options(t *testing.T) {
	t.Parallel()
	f := dynamictest.New(t, greeter(), dynamic.Handlers{"Hello": dynamic.Unary(hello)},
		nil, dynamictest.WithServerOptions(dynamic.WithServerID("SRV_own")),
		dynamictest.WithRegisterOptions(dynamic.WithWireName("OtherName")),
		dynamictest.WithConnOptions(dynamic.WithClientID("CLI_own")), patient)
	assert.Equal(t, "SRV_own", f.Server.ID())
	assert.Equal(t, "CLI_own", f.Conn.ID())
	assert.Equal(t, "OtherName", f.Registration.Service().WireName())
	conn := f.AddConn(dynamic.WithClientID("CLI_other"))
	assert.Equal(t, "CLI_other", conn.ID())
	answer, err := callHello(t.Context(), conn)
	require.NoError(t, err)
	assert.Equal(t, "Hello, Ada", answer)
}

// TestNew_Registry checks that the conns can use the registry of the program.
func TestNew_Registry(t *testing.T) {
	t.Parallel()
	reg := registry.New()
	service, err := reg.Register(greeter().Descriptor(), registry.WithWireName("Renamed"))
	require.NoError(t, err)
	f := dynamictest.New(t, service, dynamic.Handlers{"Hello": dynamic.Unary(hello)}, dynamictest.WithRegistry(reg), patient)
	for _, conn := range []*dynamic.Conn{f.Conn, f.AddConn()} {
		answer, err := callHello(t.Context(), conn)
		require.NoError(t, err)
		assert.Equal(t, "Hello, Ada", answer)
	}
}

func TestNew_WrongHandlers(t *testing.T) {
	t.Parallel()
	failures := runTest(func(tb testing.TB) {
		dynamictest.Serve(tb, greeter(), dynamic.Handlers{"Helo": dynamic.Unary(hello)})
		assert.Fail(t, "not reached")
	})
	require.Len(t, failures, 1)
	assert.Contains(t, failures[0], "dynamictest: service greeting.Greeter, method Helo: there is a handler, but no such method")
}

// TestNew_HandlersAtTheEnd checks that the end of a test cancels the contexts of handlers and waits
// for them. The test fails if a handler does not return, and what it logs afterwards is discarded.
func TestNew_HandlersAtTheEnd(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		takes time.Duration // how long the handler runs after its context has ended
		fails bool
	}{
		"waits for its context": {0, false},
		"is slow to return":     {5 * time.Second, false},
		"does not return":       {time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				started, ended := make(chan struct{}), make(chan struct{})
				failures := runTest(func(tb testing.TB) {
					conn := dynamictest.Serve(tb, greeter(), dynamic.Handlers{
						"Hello": dynamic.Unary(func(ctx context.Context, _ text) (text, error) {
							close(started)
							<-ctx.Done()
							<-time.After(tt.takes)
							close(ended)
							panic("logged")
						}),
					})
					go func() { _, _ = callHello(context.Background(), conn) }() // ends when the conn is closed
					<-started
				})
				if tt.fails {
					require.Len(t, failures, 1)
					assert.Contains(t, failures[0], "handlers were still running")
				} else {
					assert.Empty(t, failures)
				}
				<-ended
				synctest.Wait()
			})
		})
	}
}

func TestBindFake_EveryKind(t *testing.T) {
	t.Parallel()
	var client greeterClient
	f := dynamictest.BindFake(t, greeter(), &client, dynamic.Handlers{
		"Everyone": dynamic.Unary(hello), "Local": dynamic.Unary(hello),
		"Chat": dynamic.Stream(func(stream dynamic.ServerStream[text, text]) error {
			return stream.Send(wrapperspb.String("welcome"))
		}),
	}, patient)
	ctx, ada := t.Context(), wrapperspb.String("Ada")
	_, err := client.Hello(ctx, ada)
	var coded errors.Error
	require.ErrorAs(t, err, &coded)
	assert.Equal(t, errors.Unimplemented, coded.Code(), "there is no handler")

	require.NoError(t, f.Registration.RegisterTopic("Local", "Rome"))
	local, err := client.Local(ctx, "Rome", ada)
	require.NoError(t, err)
	assert.Equal(t, "Hello, Ada", local.GetValue())
	responses, err := client.Everyone(ctx, ada)
	require.NoError(t, err)
	assert.Equal(t, "Hello, Ada", (<-responses).Result.GetValue())
	stream, err := client.Chat(ctx)
	require.NoError(t, err)
	assert.Equal(t, "welcome", (<-stream.Channel()).GetValue())
	news, err := client.SubscribeNews(ctx)
	require.NoError(t, err)
	require.NoError(t, f.Registration.Publish(ctx, "News", wrapperspb.String("extra")))
	assert.Equal(t, "extra", (<-news.Channel()).GetValue())
}

// TestServe_FaultsRepeat checks that the same calls fail in every run with the same seed, because
// the fixture gives the conn a fixed ID.
func TestServe_FaultsRepeat(t *testing.T) {
	t.Parallel()
	outcomes := func() (failed []int) {
		synctest.Test(t, func(t *testing.T) {
			faults := bustest.NewFaultBus(bus.NewLocal(), 5, bustest.Faults{Loss: 0.1})
			conn := dynamictest.Serve(t, greeter(), dynamic.Handlers{"Hello": dynamic.Unary(hello)},
				dynamictest.WithBus(faults))
			for i := range 100 {
				if _, err := callHello(t.Context(), conn); err != nil {
					failed = append(failed, i)
				}
			}
			t.Logf("%+v", faults.Counts())
		})
		return failed
	}
	first := outcomes()
	assert.Greater(t, len(first), 5, fmt.Sprint(first))
	assert.Equal(t, first, outcomes())
}
