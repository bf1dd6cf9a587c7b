package verbs_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// fakeServer answers queries of a fleet with answers that a test has chosen, so that the output of
// the command line has known numbers.
type fakeServer struct {
	id string
	// age is how long the server has been running at its first answer, and ahead is how far its
	// clock is ahead.
	age, ahead time.Duration
	// answer returns answer number n as JSON, counted from 0. The fields that identify the server,
	// and the times, are added later.
	answer func(n int) string

	answers atomic.Int64
	// started returns when the server has started.
	started func() time.Time
	types   map[string]protoreflect.MessageDescriptor
	serving *dynamic.Registration
}

// always returns a function that returns the same answer each time. It is meant for the field
// answer.
func always(answer string) func(int) string { return func(int) string { return answer } }

const controlService = "dynpsrpc.fleet.v1.DynpsrpcFleet"

// start serves the control service on a bus.
func (f *fakeServer) start(t *testing.T, b bus.Bus) {
	t.Helper()
	f.started = sync.OnceValue(func() time.Time { return time.Now().Add(f.ahead - f.age) })
	const path = "dynpsrpc/fleet/v1/fleet.proto"
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{path: {Data: []byte(fleet.Proto())}}, path))
	service, ok := reg.Service(controlService)
	require.True(t, ok)
	messages := service.Descriptor().ParentFile().Messages()
	f.types = make(map[string]protoreflect.MessageDescriptor)
	for i := range messages.Len() {
		f.types[string(messages.Get(i).Name())] = messages.Get(i)
	}
	server := dynamic.NewServer(b, dynamic.WithServerID(f.id))
	t.Cleanup(func() { require.NoError(t, server.Shutdown(context.Background())) })
	var err error
	f.serving, err = server.Register(service, dynamic.Handlers{"Query": dynamic.Raw(f.query)}, dynamic.AllowMissing())
	require.NoError(t, err)
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(f.id))
	for _, scope := range []string{"all", fmt.Sprintf("shard_%02d", hash.Sum32()%64), "server_" + f.id} {
		require.NoError(t, f.serving.RegisterTopic("Query", scope))
	}
}

func (f *fakeServer) query(context.Context, *registry.Method, []byte) ([]byte, error) {
	started, now := f.started(), time.Now().Add(f.ahead)
	answer := dynamicpb.NewMessage(f.types["QueryResponse"])
	if err := protojson.Unmarshal([]byte(f.answer(int(f.answers.Add(1))-1)), answer); err != nil {
		return nil, err
	}
	set := func(field protoreflect.Name, value any) {
		answer.Set(answer.Descriptor().Fields().ByName(field), protoreflect.ValueOf(value))
	}
	set("server_id", f.id)
	set("now", now.UnixNano())
	set("started", started.UnixNano())
	set("api", uint32(1))
	set("software", "dynpsrpc v1.2.3 go1.26.8")
	return proto.Marshal(answer)
}

// change publishes a change of the server, which is given as JSON.
func (f *fakeServer) change(t *testing.T, change string) {
	t.Helper()
	message := dynamicpb.NewMessage(f.types["Change"])
	require.NoError(t, protojson.Unmarshal([]byte(change), message))
	message.Set(message.Descriptor().Fields().ByName("server_id"), protoreflect.ValueOf(f.id))
	require.NoError(t, f.serving.Publish(t.Context(), "Changes", message))
}

// newBus returns an in-process bus.
func newBus(t *testing.T) bus.Bus {
	t.Helper()
	b := bus.NewLocal()
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}
