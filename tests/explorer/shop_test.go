package explorer

import (
	"context"
	"embed"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

//go:embed shop.proto
var protos embed.FS

// newsInterval is the time between two updates of the method News.
const newsInterval = 100 * time.Millisecond

type item = *dynamicpb.Message

// parseShop returns a new registry that contains the service shop.Shop.
func parseShop(t testing.TB) *registry.Registry {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(protos, "shop.proto"))
	return reg
}

// serviceOf returns a service of shop.proto. The file is parsed only once for all servers, because
// there may be many of them.
func serviceOf(t testing.TB, name string) *registry.Service {
	t.Helper()
	reg, err := served()
	require.NoError(t, err)
	service, err := reg.FindService(name)
	require.NoError(t, err)
	return service
}

var served = sync.OnceValues(func() (*registry.Registry, error) {
	reg := registry.New()
	return reg, reg.ParseProto(protos, "shop.proto")
})

// shop is a server with the service shop.Shop.
type shop struct {
	*dynamic.Server

	registration *dynamic.Registration
	// calls is the number of calls of get. waiting is the number of handlers that wait for their
	// context to end.
	calls, waiting atomic.Int32
}

// affinities contains the affinities of servers for the method Best. carl declines all requests,
// and other servers have the affinity 0.5.
var affinities = map[string]float32{"ada": 0.9, "bob": 0.5, "eve": 0.25, "carl": -1}

// openShop starts a server. It serves InRoom for the given room on the first floor. The server is
// stopped when the test ends.
func openShop(t testing.TB, b bus.Bus, id, room string) *shop {
	t.Helper()
	service := serviceOf(t, "shop.Shop")
	s := &shop{Server: dynamic.NewServer(b, dynamic.WithServerID(id))}
	t.Cleanup(s.Kill)
	get := dynamic.Unary(s.get)
	affinity := func(context.Context, item) float32 {
		if affinity, ok := affinities[id]; ok {
			return affinity
		}
		return 0.5
	}
	var err error
	s.registration, err = s.Register(service, dynamic.Handlers{
		"Get": get, "Look": get, "Everyone": get, "InRoom": get,
		"Best": dynamic.Unary(s.get, dynamic.WithAffinity(affinity)),
		"Talk": dynamic.Stream(talk),
	})
	require.NoError(t, err)
	require.NoError(t, s.registration.RegisterTopic("InRoom", "1", room))
	return s
}

// takeOrders makes the server serve shop.Orders, too.
func (s *shop) takeOrders(t testing.TB) {
	t.Helper()
	service := serviceOf(t, "shop.Orders")
	place := service.Descriptor().Methods().ByName("Place")
	_, err := s.Register(service, dynamic.Handlers{"Place": dynamic.Unary(func(_ context.Context, order item) (item, error) {
		pieces := uint32(order.Get(place.Input().Fields().ByName("pieces")).Uint())
		if pieces == 0 {
			return nil, errors.NewErrorf(errors.InvalidArgument, "nothing is ordered")
		}
		receipt := dynamicpb.NewMessage(place.Output())
		receipt.Set(place.Output().Fields().ByName("number"), protoreflect.ValueOfString("2026-1107"))
		receipt.Set(place.Output().Fields().ByName("cents"), protoreflect.ValueOfUint32(250*pieces))
		return receipt, nil
	})})
	require.NoError(t, err)
}

// get returns the requested item and adds the ID of the server to its stock. For an item named
// "fail CODE", it returns an error with that code. For the item "wait", it waits until the context
// ends.
func (s *shop) get(ctx context.Context, request item) (item, error) {
	s.calls.Add(1)
	switch name := nameOf(request); {
	case strings.HasPrefix(name, "fail "):
		return nil, errors.NewErrorf(errors.ErrorCode(name[len("fail "):]), "the shop has no <b>%s</b>", name)
	case name == "wait":
		s.waiting.Add(1)
		defer s.waiting.Add(-1)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	response := proto.CloneOf(request)
	stock := response.Mutable(request.Descriptor().Fields().ByName("stock")).Map()
	stock.Set(protoreflect.ValueOfString(s.ID()).MapKey(), protoreflect.ValueOfInt32(1))
	return response, nil
}

// talk answers each message with "you said" and the name in the message.
func talk(stream dynamic.ServerStream[item, item]) error {
	for message := range stream.Channel() {
		if nameOf(message) == "bye" {
			return nil
		}
		if err := stream.Send(newItem(message.Descriptor(), "you said "+nameOf(message))); err != nil {
			return err
		}
	}
	return nil
}

// publishNews publishes an update at regular intervals until the test ends.
func (s *shop) publishNews(t testing.TB) {
	t.Helper()
	descriptor := s.registration.Service().Descriptor().Methods().ByName("News").Output()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(newsInterval)
		defer ticker.Stop()
		for n := 1; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				// While the broker is down, updates are lost. The next one follows soon.
				_ = s.registration.Publish(ctx, "News", newItem(descriptor, fmt.Sprintf("news %d", n)))
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func newItem(descriptor protoreflect.MessageDescriptor, name string) item {
	message := dynamicpb.NewMessage(descriptor)
	message.Set(descriptor.Fields().ByName("name"), protoreflect.ValueOfString(name))
	return message
}

func nameOf(message item) string {
	return message.Get(message.Descriptor().Fields().ByName("name")).String()
}
