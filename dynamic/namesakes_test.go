package dynamic_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// If two services have the same name on a bus that does not count receivers, the servers and conns
// of each service must log one warning about the other service. Servers of the same service must
// not cause a warning.
func TestNamesakes(t *testing.T) {
	t.Parallel()
	load := func(pkg string) *registry.Registry {
		reg := registry.New()
		require.NoError(t, reg.ParseProto(fstest.MapFS{"a.proto": {Data: []byte(`syntax = "proto3"; package ` + pkg + `;
			import "options.proto"; message M {}
			service Worker { rpc Best(M) returns (M) { option (psrpc.options).type = AFFINITY; } }`)}}, "a.proto"))
		return reg
	}
	one, two := load("media.v1"), load("media.v2")
	synctest.Test(t, func(t *testing.T) {
		b := newBlindBus(blindDelay)
		defer b.Close()
		start := func(reg *registry.Registry) *capturedLog {
			log := &capturedLog{}
			server := dynamic.NewServer(b, dynamic.WithLogger(slog.New(log)))
			service, err := reg.FindService(reg.Services()[0].String())
			require.NoError(t, err)
			_, err = server.Register(service, nil, dynamic.AllowMissing())
			require.NoError(t, err)
			t.Cleanup(server.Kill)
			return log
		}
		namesakes := func(log *capturedLog) (others []any) {
			for _, line := range log.all() {
				if other := line["other_service"]; other != nil {
					others = append(others, other)
				}
			}
			return others
		}
		first, same := start(one), start(one)
		conn := &capturedLog{}
		client, err := dynamic.NewConn(b, two, dynamic.WithLogger(slog.New(conn)))
		require.NoError(t, err)
		defer client.Close()
		for range 2 {
			_, err = dynamic.Invoke(t.Context(), client, "media.v2.Worker/Best", nil)
			require.Error(t, err) // the servers have no handler
		}
		assert.Equal(t, []any{"media.v1.Worker"}, namesakes(conn))
		assert.Empty(t, namesakes(first))
		assert.Empty(t, namesakes(same))

		other, another := start(two), start(two)
		<-time.After(time.Second)
		for _, log := range []*capturedLog{first, same} {
			assert.Equal(t, []any{"media.v2.Worker"}, namesakes(log))
		}
		for _, log := range []*capturedLog{other, another} {
			assert.Equal(t, []any{"media.v1.Worker"}, namesakes(log))
		}
	})
}

// If two servers of a service have the same ID on a bus that does not count receivers, each must log
// one warning. The successor of a server that is shutting down must not cause a warning.
func TestServer_SameID(t *testing.T) {
	t.Parallel()
	reg := newRegistry(t, kindsSource)
	synctest.Test(t, func(t *testing.T) {
		b := newBlindBus(blindDelay)
		defer b.Close()
		running, release := make(chan struct{}), make(chan struct{})
		start := func() (*dynamic.Server, func() int) {
			log := &capturedLog{}
			server := dynamic.NewServer(b, dynamic.WithServerID("SRV_same"), dynamic.WithLogger(slog.New(log)))
			_, err := server.Register(descriptor(t, reg, "kinds.Fleet"), dynamic.Handlers{
				"Best": dynamic.Unary(func(_ context.Context, request text) (text, error) {
					close(running)
					<-release
					return request, nil
				}),
			}, dynamic.AllowMissing())
			require.NoError(t, err)
			t.Cleanup(server.Kill)
			return server, func() (warnings int) {
				<-time.After(time.Second)
				for _, line := range log.all() {
					if strings.Contains(line["msg"].(string), "has the ID of this server") {
						warnings++
					}
				}
				return warnings
			}
		}
		first, warningsOfFirst := start()
		conn, err := dynamic.NewConn(b, reg)
		require.NoError(t, err)
		defer conn.Close()
		called, stopped := make(chan error, 1), make(chan error, 1)
		go func() { // the test waits for this goroutine
			_, err := dynamic.Invoke(t.Context(), conn, "kinds.Fleet/Best", nil, dynamic.WithRequestTimeout(time.Minute))
			called <- err
		}()
		<-running
		go func() { stopped <- first.Shutdown(t.Context()) }()
		synctest.Wait()
		_, warningsOfSecond := start()
		assert.Zero(t, warningsOfFirst())
		assert.Zero(t, warningsOfSecond())
		close(release)
		require.NoError(t, <-called)
		require.NoError(t, <-stopped)

		_, warningsOfThird := start()
		assert.Equal(t, 1, warningsOfSecond())
		assert.Equal(t, 1, warningsOfThird())
	})
}
