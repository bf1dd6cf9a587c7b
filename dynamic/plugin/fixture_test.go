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

	patience = 20 * time.Second
)

type text = *wrapperspb.StringValue

// world is a host of plugins, and a client of their services.
type world struct {
	*testing.T

	server   *dynamic.Server
	host     *plugin.Host
	conn     *dynamic.Conn
	registry *registry.Registry
	loader   *testLoader
	events   chan plugin.Event
	root     string
	remove   string // a file of the plugin that is not there after all
}

func newWorld(t *testing.T, opts ...plugin.Option) *world {
	t.Helper()
	reg := registry.New()
	w := &world{T: t, registry: reg, loader: &testLoader{late: make(chan struct{})}, events: make(chan plugin.Event, 100), root: t.TempDir()}
	w.write("greeting.proto", proto)
	require.NoError(t, reg.ParseProto(os.DirFS(w.root), "greeting.proto"))
	b := bus.NewLocal()
	w.server = dynamic.NewServer(b)
	var err error
	w.host, err = plugin.NewHost(w.server, append([]plugin.Option{
		plugin.WithLoaders(w.loader), plugin.WithEvents(func(e plugin.Event) { w.events <- e }),
		plugin.WithDebounce(20 * time.Millisecond),
	}, opts...)...)
	require.NoError(t, err)
	w.conn, err = dynamic.NewConn(b, reg)
	require.NoError(t, err)
	t.Cleanup(func() {
		w.host.Close()
		require.NoError(t, w.server.Shutdown(context.Background()))
		require.NoError(t, w.conn.Close())
		require.NoError(t, b.Close())
	})
	return w
}

// write writes a file below root.
func (w *world) write(name, content string) {
	w.Helper()
	writeFile(w, filepath.Join(w.root, filepath.FromSlash(name)), content)
}

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
}

// plugin writes the folder of a plugin, with a manifest as the test loader wants it, and returns its path.
func (w *world) plugin(folder, code string, change ...func(m *plugin.Manifest)) string {
	w.Helper()
	path := filepath.Join(w.root, filepath.FromSlash(folder))
	writePlugin(w, path, code, change...)
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

// event waits for the next event.
func (w *world) event(kind plugin.EventKind, name string) plugin.Event {
	w.Helper()
	select {
	case e := <-w.events:
		require.Equal(w, kind.String()+" "+name, e.Kind.String()+" "+e.Plugin, "%+v", e)
		return e
	case <-time.After(patience):
		require.Fail(w, "no event", "%s %s", kind, name)
		return plugin.Event{}
	}
}

// call returns the version that answers.
func (w *world) call(method string) (string, error) {
	response, err := dynamic.Invoke(w.Context(), w.conn, method, wrapperspb.String(""))
	if err != nil {
		return "", err
	}
	return response.(text).GetValue(), nil
}

func (w *world) requireVersion(method, version string) {
	w.Helper()
	answer, err := w.call(method)
	require.NoError(w, err)
	require.Equal(w, version, answer)
}

func (w *world) status(name string) plugin.Status {
	w.Helper()
	for _, status := range w.host.List() {
		if status.Name == name {
			return status
		}
	}
	require.Fail(w, "not listed", name)
	return plugin.Status{}
}

// testLoader runs code that is a few words: the first says what it does, all of it is what its services answer.
type testLoader struct {
	late chan struct{} // closed when code that breaks late does

	mu    sync.Mutex
	codes []*testCode
}

func (*testLoader) Name() string { return "test" }

func (l *testLoader) Load(ctx context.Context, source *plugin.Source, notify func(error)) (plugin.Instance, error) {
	version := string(source.Content)
	c := &testCode{source: source, notify: notify, does: strings.Fields(version)[0], version: version, closed: make(chan struct{})}
	l.mu.Lock()
	l.codes = append(l.codes, c)
	l.mu.Unlock()
	switch c.does {
	case "broken":
		return nil, errors.New("it is broken")
	case "breaks-late":
		<-l.late
		return nil, errors.New("it is broken")
	case "panics":
		panic("out of order")
	case "nothing":
		return nil, nil //nolint:nilnil // a loader that is wrong
	case "waits":
		<-ctx.Done()
		return nil, ctx.Err()
	case "falters":
		notify(errors.New("not yet"))
	case "counts":
		return countingCode{c}, nil
	}
	return c, nil
}

// code returns the n-th that was loaded.
func (l *testLoader) code(n int) *testCode {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.codes[n]
}

func (l *testLoader) loaded() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.codes)
}

type testCode struct {
	source   *plugin.Source
	notify   func(error)
	does     string
	version  string
	running  sync.WaitGroup // handlers
	handling atomic.Int32
	closed   chan struct{}
}

func (c *testCode) answer(ctx context.Context, request text) (text, error) {
	c.running.Add(1)
	defer c.running.Done()
	c.handling.Add(1)
	defer c.handling.Add(-1)
	select {
	case <-c.closed:
		return nil, errors.NewErrorf(errors.Internal, "code %s is closed", c.version)
	default:
	}
	switch {
	case request.GetValue() == "wait":
		<-ctx.Done()
		return nil, ctx.Err()
	case request.GetValue() == "fail":
		return nil, errors.New("as you wish")
	}
	return wrapperspb.String(c.version), nil
}

func (c *testCode) Services() []plugin.Service {
	switch c.does {
	case "self":
		return nil
	case "services-panic":
		panic("no services today")
	case "nil-descriptor":
		return []plugin.Service{{}}
	}
	methods := map[string]string{greeter: "Hello", parting: "Bye"}
	var all []plugin.Service
	for _, s := range c.source.Services {
		handler := dynamic.Unary(c.answer)
		if c.does == "bad-handler" && string(s.Name()) == parting {
			handler = dynamic.Unary(func(context.Context, *wrapperspb.Int32Value) (text, error) { return nil, nil }) //nolint:nilnil // never called
		}
		service := plugin.Service{Descriptor: s.Descriptor(), Handlers: dynamic.Handlers{methods[string(s.Name())]: handler}}
		if c.does == "refuses" && string(s.Name()) == parting {
			service.Registered = func(*dynamic.Registration) error { return errors.New("not with me") }
		}
		all = append(all, service)
	}
	if c.does == "serves-less" {
		all = all[1:]
	}
	return all
}

func (c *testCode) Close(context.Context) error {
	c.running.Wait()
	close(c.closed)
	if c.does == "close-panics" {
		panic("not like this")
	}
	return nil
}

// countingCode counts by itself.
type countingCode struct{ *testCode }

func (countingCode) Counts() (handled, failed uint64) { return 7, 3 }

// awaitClosed waits until code is closed.
func (w *world) awaitClosed(n int) {
	w.Helper()
	select {
	case <-w.loader.code(n).closed:
	case <-time.After(patience):
		require.Fail(w, fmt.Sprintf("code %d is not closed", n))
	}
}
