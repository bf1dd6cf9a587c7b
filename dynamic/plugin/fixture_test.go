package plugin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	proto = `
syntax = "proto3";
package greeting;
import "google/protobuf/wrappers.proto";
service Greeter {
  rpc Hello(google.protobuf.StringValue) returns (google.protobuf.StringValue);
}
service Parting {
  rpc Bye(google.protobuf.StringValue) returns (google.protobuf.StringValue);
}
`
	greeter = "greeting.Greeter"
	parting = "greeting.Parting"
	hello   = "greeting.Greeter/Hello"
	bye     = "greeting.Parting/Bye"

	waitTimeout = 30 * time.Second
)

type text = *wrapperspb.StringValue

// fleet is a plugin host on an in-process bus, and a conn that calls the services of the plugins.
type fleet struct {
	*testing.T

	server   *dynamic.Server
	host     *plugin.Host
	conn     *dynamic.Conn
	registry *registry.Registry
	loader   *testLoader
	events   chan plugin.Event
	root     string
	// remove is the name of a file that a test case removes from the plugin's folder.
	remove string
}

func newFleet(t *testing.T, opts ...plugin.Option) *fleet {
	t.Helper()
	reg := registry.New()
	f := &fleet{T: t, registry: reg, loader: &testLoader{failLate: make(chan struct{})}, events: make(chan plugin.Event, 100), root: t.TempDir()}
	f.write("greeting.proto", proto)
	require.NoError(t, reg.ParseProto(os.DirFS(f.root), "greeting.proto"))
	b := bus.NewLocal()
	f.server = dynamic.NewServer(b)
	var err error
	f.host, err = plugin.NewHost(f.server, append([]plugin.Option{
		plugin.WithLoaders(f.loader), plugin.WithEvents(func(e plugin.Event) { f.events <- e }),
		plugin.WithDebounce(100 * time.Millisecond),
	}, opts...)...)
	require.NoError(t, err)
	f.conn, err = dynamic.NewConn(b, reg, dynamic.WithClientTimeout(waitTimeout), dynamic.WithSelectionTimeout(waitTimeout))
	require.NoError(t, err)
	t.Cleanup(func() {
		f.host.Close()
		require.NoError(t, f.server.Shutdown(context.Background()))
		require.NoError(t, f.conn.Close())
		require.NoError(t, b.Close())
	})
	return f
}

// write writes a file in root.
func (f *fleet) write(name, content string) {
	f.Helper()
	writeFile(f, filepath.Join(f.root, filepath.FromSlash(name)), content)
}

// writeFile writes a file atomically, so that a watch never sees a part of the content. It does not
// touch a file that has this content already.
func writeFile(t testing.TB, path, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	if old, err := os.ReadFile(path); err == nil && string(old) == content {
		return
	}
	temporary := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(temporary, []byte(content), 0o600))
	require.NoError(t, os.Rename(temporary, path))
}

// plugin writes the folder of a plugin for testLoader and returns its path. code is the content of
// its code file. If the folder is watched, a call may change only one file of the folder: a watch
// may see the state between two changes.
func (f *fleet) plugin(folder, code string, change ...func(m *plugin.Manifest)) string {
	f.Helper()
	path := filepath.Join(f.root, filepath.FromSlash(folder))
	writePlugin(f, path, code, change...)
	return path
}

func writePlugin(t testing.TB, folder, code string, change ...func(m *plugin.Manifest)) {
	t.Helper()
	m := plugin.Manifest{
		Version: code, Loader: "test", Code: "code", Descriptors: "greeting.proto", Services: []string{greeter},
	}
	for _, f := range change {
		f(&m)
	}
	manifest, err := json.Marshal(m)
	require.NoError(t, err)
	writeFile(t, filepath.Join(folder, "greeting.proto"), proto)
	writeFile(t, filepath.Join(folder, "code"), code)
	writeFile(t, filepath.Join(folder, plugin.ManifestName), string(manifest))
}

func services(names ...string) func(*plugin.Manifest) {
	return func(m *plugin.Manifest) { m.Services = names }
}

// event waits for the next event and checks its kind and plugin.
func (f *fleet) event(kind plugin.EventKind, name string) plugin.Event {
	f.Helper()
	e := f.next()
	require.Equal(f, kind.String()+" "+name, e.Kind.String()+" "+e.Plugin, "%+v", e)
	return e
}

// next waits for the next event.
func (f *fleet) next() plugin.Event {
	f.Helper()
	select {
	case e := <-f.events:
		return e
	case <-time.After(waitTimeout):
		require.Fail(f, "no event")
		return plugin.Event{}
	}
}

// call calls a method and returns the version of the plugin that responded.
func (f *fleet) call(method string) (string, error) {
	response, err := dynamic.Invoke(f.Context(), f.conn, method, wrapperspb.String(""))
	if err != nil {
		return "", err
	}
	return response.(text).GetValue(), nil
}

func (f *fleet) requireVersion(method, version string) {
	f.Helper()
	answer, err := f.call(method)
	require.NoError(f, err)
	require.Equal(f, version, answer)
}

func (f *fleet) status(name string) plugin.Status {
	f.Helper()
	for _, status := range f.host.List() {
		if status.Name == name {
			return status
		}
	}
	require.Fail(f, "not listed", name)
	return plugin.Status{}
}

// testLoader loads plugins whose code is a text. The first word selects the behavior. The services
// respond with the whole text.
type testLoader struct {
	// When failLate is closed, running loads of the code "breaks-late" fail.
	failLate chan struct{}

	mu        sync.Mutex
	instances []*testInstance
}

func (*testLoader) Name() string { return "test" }

func (l *testLoader) Load(ctx context.Context, source *plugin.Source, onHealth func(error)) (plugin.Instance, error) {
	version := string(source.Content)
	c := &testInstance{source: source, onHealth: onHealth, does: strings.Fields(version)[0], version: version, closed: make(chan struct{})}
	l.mu.Lock()
	l.instances = append(l.instances, c)
	l.mu.Unlock()
	switch c.does {
	case "broken":
		return nil, errors.New("invalid module")
	case "breaks-late":
		<-l.failLate
		return nil, errors.New("invalid module")
	case "panics":
		panic("nil module")
	case "nothing":
		return nil, nil //nolint:nilnil // simulates a faulty loader
	case "waits":
		<-ctx.Done()
		return nil, ctx.Err()
	case "degrades":
		onHealth(errors.New("no database"))
	case "counts":
		return countingInstance{c}, nil
	}
	return c, nil
}

// instance returns the n-th instance that was loaded, counted from 0.
func (l *testLoader) instance(n int) *testInstance {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.instances[n]
}

func (l *testLoader) loaded() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.instances)
}

type testInstance struct {
	source   *plugin.Source
	onHealth func(error)
	does     string
	version  string
	running  sync.WaitGroup // counts the running handlers
	handling atomic.Int32
	closed   chan struct{}
}

func (c *testInstance) answer(ctx context.Context, request text) (text, error) {
	c.running.Add(1)
	defer c.running.Done()
	c.handling.Add(1)
	defer c.handling.Add(-1)
	select {
	case <-c.closed:
		return nil, errors.NewErrorf(errors.Internal, "instance %s is closed", c.version)
	default:
	}
	switch {
	case request.GetValue() == "wait":
		<-ctx.Done()
		return nil, ctx.Err()
	case request.GetValue() == "fail":
		return nil, errors.New("requested failure")
	}
	return wrapperspb.String(c.version), nil
}

func (c *testInstance) Services() []plugin.Service {
	switch c.does {
	case "self":
		return nil
	case "services-panic":
		panic("no services")
	case "nil-descriptor":
		return []plugin.Service{{}}
	}
	methods := map[string]string{greeter: "Hello", parting: "Bye"}
	var all []plugin.Service
	for _, s := range c.source.Services {
		handler := dynamic.Unary(c.answer)
		if c.does == "bad-handler" && string(s.Name()) == parting {
			handler = dynamic.Unary(func(context.Context, *wrapperspb.Int32Value) (text, error) { return nil, nil }) //nolint:nilnil // the handler is never called
		}
		service := plugin.Service{Descriptor: s.Descriptor(), Handlers: dynamic.Handlers{methods[string(s.Name())]: handler}}
		if c.does == "refuses" && string(s.Name()) == parting {
			service.Registered = func(*dynamic.Registration) error { return errors.New("topic refused") }
		}
		all = append(all, service)
	}
	if c.does == "serves-less" {
		all = all[1:]
	}
	return all
}

func (c *testInstance) Close(context.Context) error {
	c.running.Wait()
	close(c.closed)
	if c.does == "close-panics" {
		panic("double free")
	}
	return nil
}

// countingInstance is an instance that counts its calls itself.
type countingInstance struct{ *testInstance }

func (countingInstance) Counts() (handled, failed uint64) { return 7, 3 }

// awaitClosed waits until the n-th instance, counted from 0, is closed.
func (f *fleet) awaitClosed(n int) {
	f.Helper()
	select {
	case <-f.loader.instance(n).closed:
	case <-time.After(waitTimeout):
		require.Fail(f, fmt.Sprintf("instance %d is not closed", n))
	}
}
