package dynamic_test

import (
	"context"
	"maps"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// versionsHead is the beginning of the .proto source of the service that the tests replace.
const versionsHead = `
syntax = "proto3";
package versions;
import "options.proto";
import "google/protobuf/wrappers.proto";
service Versions {
`

const versionsMethods = `
  rpc Queue(google.protobuf.StringValue) returns (google.protobuf.StringValue);
  rpc Direct(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).topic_params.single_server = true;
  }
  rpc Best(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).type = AFFINITY;
  }
  rpc All(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options).type = MULTI;
  }
  rpc Region(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options) = { topics: true topic_params: { group: "place" names: "region" } };
  }
  rpc RegionAll(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options) = { topics: true type: MULTI topic_params: { group: "place" names: "region" } };
  }
  rpc Flow(google.protobuf.StringValue) returns (google.protobuf.StringValue) {
    option (psrpc.options) = { stream: true topic_params: { single_server: true } };
  }
`

const (
	versionsQueue  = "versions.Versions/Queue"
	versionsDirect = "versions.Versions/Direct"
	versionsBest   = "versions.Versions/Best"
	versionsAll    = "versions.Versions/All"
	versionsRegion = "versions.Versions/Region"
	versionsFlow   = "versions.Versions/Flow"
)

// versionsWorld is a world whose server serves one version of versions.Versions.
type versionsWorld struct {
	*world

	service *dynamic.Registration // the registration of the current version
}

// newVersionsWorld returns a world that serves version 1.
func newVersionsWorld(t testing.TB, b bus.Bus, opts ...dynamic.ServerOption) *versionsWorld {
	t.Helper()
	opts = append([]dynamic.ServerOption{dynamic.WithServerTimeout(patience)}, opts...)
	w := &versionsWorld{world: newWorldOn(t, b, opts...)}
	w.registry = newRegistry(t, versionsHead+versionsMethods+"}")
	w.conn = w.connTo(t, w.registry)
	var err error
	w.service, err = w.server.Register(descriptor(t, w.registry, "versions.Versions"), version(1), dynamic.AllowMissing())
	require.NoError(t, err)
	return w
}

// connTo returns a conn that knows the services of a registry. Its calls wait long for a server and
// for its response, so that they succeed on a busy machine too.
func (w *versionsWorld) connTo(t testing.TB, reg *registry.Registry) *dynamic.Conn {
	t.Helper()
	conn, err := dynamic.NewConn(w.bus, reg, patient...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

// version returns handlers that respond with the number of their version.
func version(number int) dynamic.Handlers {
	name := strconv.Itoa(number)
	answer := dynamic.Unary(func(context.Context, text) (text, error) { return say(name), nil })
	return dynamic.Handlers{
		"Queue": answer, "Direct": answer, "Best": answer, "All": answer, "Region": answer, "RegionAll": answer,
		"Flow": dynamic.Stream(func(stream serverText) error {
			for range stream.Channel() {
				if err := stream.Send(say(name)); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

// versionWith returns the handlers of a version, some of which are replaced by those in handlers.
func versionWith(number int, handlers dynamic.Handlers) dynamic.Handlers {
	all := version(number)
	maps.Copy(all, handlers)
	return all
}

func (w *versionsWorld) tryReplace(
	t testing.TB, r *dynamic.Registration, handlers dynamic.Handlers, opts ...dynamic.ServiceOption,
) (*dynamic.Registration, error) {
	t.Helper()
	opts = append(opts, dynamic.AllowMissing())
	return r.Replace(descriptor(t, w.registry, "versions.Versions"), handlers, opts...)
}

// replace replaces the current version by a new one, and returns the registration of the old one.
func (w *versionsWorld) replace(t testing.TB, handlers dynamic.Handlers) (before *dynamic.Registration) {
	t.Helper()
	next, err := w.tryReplace(t, w.service, handlers)
	require.NoError(t, err)
	before, w.service = w.service, next
	return before
}

// requireVersion checks which version responds to each kind of call.
func (w *versionsWorld) requireVersion(t testing.TB, number int) {
	t.Helper()
	want := strconv.Itoa(number)
	for _, method := range []string{versionsQueue, versionsDirect, versionsBest} {
		answer, err := w.call(t, method, "")
		require.NoError(t, err, method)
		require.Equal(t, want, answer, method)
	}
	var answers []string
	for response := range textClient(t, w.conn, versionsAll).Responses(t.Context(), say("")) {
		require.NoError(t, response.Err)
		answers = append(answers, response.Result.GetValue())
	}
	require.Equal(t, []string{want}, answers)
}

// mustService returns a service of a registry. It panics on failure, because only the test's own
// goroutine may end the test.
func mustService(reg *registry.Registry, name string) *registry.Service {
	service, ok := reg.Service(name)
	if !ok {
		panic(name)
	}
	return service
}

// requireStream checks which version serves a stream.
func requireStream(t testing.TB, number int, stream clientText) {
	t.Helper()
	require.NoError(t, stream.Send(say("")))
	requireText(t, strconv.Itoa(number), stream.Channel())
}

func (w *versionsWorld) openFlow(t testing.TB) clientText {
	t.Helper()
	stream, err := textClient(t, w.conn, versionsFlow).OpenStream(t.Context())
	require.NoError(t, err)
	return stream
}

// hold starts a call and returns when its handler is running.
func (w *versionsWorld) hold(t testing.TB, ctx context.Context, method string, b blocker) (ended <-chan error) {
	t.Helper()
	client, called := textClient(t, w.conn, method), make(chan error, 1)
	go func() { // this goroutine ends with the call
		_, err := client.Call(ctx, say(""), dynamic.WithRequestTimeout(atOnce))
		called <- err
	}()
	requireSoon(t, b.started, "handler")
	return called
}
