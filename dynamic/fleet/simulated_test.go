package fleet

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// simulatedServer answers queries like a server for which Serve was called, but with answers that a
// test sets.
type simulatedServer struct {
	*dynamic.Server

	registration *dynamic.Registration
	// tell is the answer of the server. If it is nil, the server does not answer.
	tell *Server
	// refuse is the error with which the server answers. If it is nil, the server answers with
	// tell.
	refuse error
	// wrongFiles is sent instead of the requested descriptors, unless it is nil.
	wrongFiles *registry.Service
	services   map[string]*registry.Service
	// testEnds is closed at the end of the test.
	testEnds <-chan struct{}
}

// simulate starts a simulated server that serves the given services, and closes it when the test
// ends. The caller may change its fields before the server is queried.
func simulate(t testing.TB, b bus.Bus, id string, services ...*registry.Service) *simulatedServer {
	t.Helper()
	s := &simulatedServer{
		Server: dynamic.NewServer(b, dynamic.WithServerID(id), dynamic.WithServerTimeout(longWait)), services: map[string]*registry.Service{},
		testEnds: t.Context().Done(),
	}
	t.Cleanup(s.Kill)
	s.tell = &Server{ID: id, API: 1, State: StateServing, App: "simulated"}
	scopes := []string{scopeAll, shardScope(shardOf(id)), serverScope(id)}
	for _, service := range services {
		digest, err := DigestOf(service.Descriptor())
		require.NoError(t, err)
		s.services[digest.String()] = service
		s.tell.Services = append(s.tell.Services, Service{
			Name: string(service.Name()), WireName: service.WireName(), Digest: digest,
		})
		scopes = append(scopes, serviceScope(service.WireName()))
	}
	var err error
	s.registration, err = s.Register(fleetService().Descriptor(), dynamic.Handlers{
		"Query": unaryHandler(s.query), "Describe": unaryHandler(s.describe),
	}, dynamic.AllowMissing())
	require.NoError(t, err)
	for _, scope := range scopes {
		require.NoError(t, s.registration.RegisterTopic("Query", scope))
	}
	for digest := range s.services {
		require.NoError(t, s.registration.RegisterTopic("Describe", digest))
	}
	return s
}

func (s *simulatedServer) query(_ context.Context, request *queryRequest) (*Server, error) {
	if s.refuse != nil {
		return nil, s.refuse
	}
	if s.tell == nil {
		// Wait until the test ends, because a response at the deadline of the request might still
		// arrive in time.
		<-s.testEnds
		return nil, context.Canceled
	}
	answer := *s.tell
	answer.Now = time.Now()
	if len(request.Parts) == 0 {
		answer.Services = nil
	}
	return &answer, nil
}

func (s *simulatedServer) describe(ctx context.Context, request *describeRequest) (*describeResponse, error) {
	info, _ := dynamic.RequestInfoFromContext(ctx)
	service := s.services[info.Topic[0]]
	if s.wrongFiles != nil {
		service = s.wrongFiles
	}
	return packFiles(service.Descriptor(), request.Comments)
}

// publishChange publishes a change as a server does.
func (s *simulatedServer) publishChange(t testing.TB, change *Change) {
	t.Helper()
	require.NoError(t, s.registration.Publish(t.Context(), "Changes", toMessage(change)))
}

// networks contains a function for each kind of bus. The function creates a bus that only one test
// uses, and returns a function that connects another peer to this bus. The connections are closed
// when the test ends.
var networks = map[string]func(t testing.TB) (connect func() bus.Bus){
	"local": func(t testing.TB) func() bus.Bus {
		b := bus.NewLocal()
		t.Cleanup(func() { assert.NoError(t, b.Close()) })
		return func() bus.Bus { return b }
	},
	"redis": func(t testing.TB) func() bus.Bus { return opener(t, testenv.Redis(t).URL()) },
	"nats":  func(t testing.TB) func() bus.Bus { return opener(t, testenv.NATS(t).URL()) },
}

func opener(t testing.TB, url string) func() bus.Bus {
	return func() bus.Bus {
		b, err := bus.Open(t.Context(), url)
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, b.Close()) })
		return b
	}
}

// patientConn sets timeouts that do not end the calls of a test, however busy the machine is.
var patientConn = dynamic.ConnOptions(dynamic.WithClientTimeout(longWait), dynamic.WithSelectionTimeout(longWait))

// newFleet returns a Fleet with a conn of its own. By default, it waits for longWait.
func newFleet(t testing.TB, b bus.Bus) *Fleet {
	t.Helper()
	conn, err := dynamic.NewConn(b, registry.New(), patientConn)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	return patientFleet(t, conn)
}

// patientFleet returns a Fleet that waits for longWait by default.
func patientFleet(t testing.TB, conn *dynamic.Conn) *Fleet {
	t.Helper()
	f, err := New(conn)
	require.NoError(t, err)
	f.times.wait = longWait
	return f
}

// collect returns the servers that answer, and the errors by server ID.
func collect(t testing.TB, f *Fleet, opts ...QueryOption) (servers map[string]*Server, failures map[string]error) {
	t.Helper()
	servers, failures = map[string]*Server{}, map[string]error{}
	for s, err := range f.Servers(t.Context(), opts...) {
		if s == nil {
			failures[""] = err
			continue
		}
		require.NotContains(t, servers, s.ID, "a server was yielded twice")
		if err != nil {
			failures[s.ID] = err
			continue
		}
		servers[s.ID] = s
	}
	return servers, failures
}

// errRefused is the error of a simulated server that refuses to answer.
var errRefused = errors.NewErrorf(errors.PermissionDenied, "not for you")
