//go:build unix

package process_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/process"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/process/child"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// TestMain runs the tests. It is also the main function of the plugins, because their scripts
// start the test binary.
func TestMain(m *testing.M) {
	if os.Getenv("DYNPSRPC_ABI") != "" {
		child.Main(serve)
		return
	}
	if folder := os.Getenv("TEST_HOST"); folder != "" {
		runHost(folder)
	}
	goleak.VerifyTestMain(m)
}

// runHost loads a plugin, copies its output to stdout, and waits until it is killed.
func runHost(folder string) {
	source, err := plugin.ReadSource(folder)
	if err != nil {
		panic(err)
	}
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == "line" {
				fmt.Println(a.Value)
			}
			return slog.Attr{}
		},
	}))
	loader, err := process.NewLoader("nats://unused", process.WithLogger(logger))
	if err != nil {
		panic(err)
	}
	if _, err := loader.Load(context.Background(), source, func(error) {}); err != nil {
		panic(err)
	}
	select {}
}

const (
	proto = `
syntax = "proto3";
package greeting;
import "google/protobuf/wrappers.proto";
service Greeter {
  rpc Hello(google.protobuf.StringValue) returns (google.protobuf.StringValue);
}
`
	greeter = "greeting.Greeter"
	hello   = "greeting.Greeter/Hello"
	ready   = `echo '{"dynpsrpc_ready":1,"services":[{"name":"greeting.Greeter","methods":["Hello"]}]}'` + "\n"

	waitTimeout = 30 * time.Second
)

type text = *wrapperspb.StringValue

// serve registers a service that responds with the version of the plugin.
func serve(_ context.Context, server *dynamic.Server) error {
	reg := registry.New()
	if err := reg.ParseProto(os.DirFS(os.Getenv("DYNPSRPC_FOLDER")), "greeting.proto"); err != nil {
		return err
	}
	service, _ := reg.Service(greeter)
	_, err := server.Register(service, dynamic.Handlers{"Hello": dynamic.Unary(answer)})
	return err
}

func answer(_ context.Context, request text) (text, error) {
	switch request.GetValue() {
	case "exit":
		fmt.Fprintln(os.Stderr, "goodbye")
		os.Exit(7)
	case "environment":
		return wrapperspb.String(fmt.Sprint(os.Args[1:], os.Environ())), nil
	}
	return wrapperspb.String(os.Getenv("DYNPSRPC_VERSION")), nil
}

// fleet is a plugin host on a real bus, and a conn that calls the services of the plugins.
type fleet struct {
	*testing.T

	host   *plugin.Host
	conn   *dynamic.Conn
	events chan plugin.Event
	log    *logBuffer
	root   string
	// copies is the directory in which the loader stores its copies of the plugins.
	copies string
}

func newFleet(t *testing.T, opts ...process.Option) *fleet {
	t.Helper()
	f := &fleet{
		T: t, events: make(chan plugin.Event, 100), log: newLogBuffer(), root: t.TempDir(), copies: t.TempDir(),
	}
	url := testenv.NATS(t).URL()
	loader, err := process.NewLoader(url, append([]process.Option{
		process.WithLogger(slog.New(slog.NewTextHandler(f.log, nil))), process.WithDirectory(f.copies),
		process.WithBackoff(10*time.Millisecond, 50*time.Millisecond),
	}, opts...)...)
	require.NoError(t, err)
	b, err := bus.Open(t.Context(), url)
	require.NoError(t, err)
	server := dynamic.NewServer(b)
	f.host, err = plugin.NewHost(server, plugin.WithLoaders(loader), plugin.WithEvents(func(e plugin.Event) { f.events <- e }))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(f.root, "greeting.proto"), []byte(proto), 0o600))
	reg := registry.New()
	require.NoError(t, reg.ParseProto(os.DirFS(f.root), "greeting.proto"))
	f.conn, err = dynamic.NewConn(b, reg, dynamic.WithClientTimeout(waitTimeout), dynamic.WithSelectionTimeout(waitTimeout))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, f.host.Shutdown(context.Background()))
		require.NoError(t, server.Shutdown(context.Background()))
		require.NoError(t, f.conn.Close())
		require.NoError(t, b.Close())
		entries, err := os.ReadDir(f.copies)
		require.NoError(t, err)
		require.Empty(t, entries, "private copies were not removed")
	})
	return f
}

// script creates the folder of a plugin that is a shell script.
func (f *fleet) script(version, script string, change ...func(m *plugin.Manifest)) (folder string) {
	f.Helper()
	folder = filepath.Join(f.root, "greeter")
	require.NoError(f, os.MkdirAll(folder, 0o700))
	m := plugin.Manifest{Version: version, Loader: "process", Code: "run.sh", Descriptors: "greeting.proto"}
	for _, f := range change {
		f(&m)
	}
	manifest, err := json.Marshal(m)
	require.NoError(f, err)
	for name, content := range map[string]string{
		"greeting.proto": proto, "run.sh": "#!/bin/sh\n" + script, plugin.ManifestName: string(manifest),
	} {
		require.NoError(f, os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600))
	}
	return folder
}

// program creates the folder of a plugin that is a Go program.
func (f *fleet) program(version string, change ...func(m *plugin.Manifest)) (folder string) {
	f.Helper()
	binary, err := os.Executable()
	require.NoError(f, err)
	return f.script(version, fmt.Sprintf("exec '%s' \"$@\"\n", binary), change...)
}

// call calls Hello and returns the text of the response.
func (f *fleet) call(request string) (string, error) { return f.callWithin(f.Context(), request) }

func (f *fleet) callWithin(ctx context.Context, request string) (string, error) {
	response, err := dynamic.Invoke(ctx, f.conn, hello, wrapperspb.String(request))
	if err != nil {
		return "", err
	}
	return response.(text).GetValue(), nil
}

// event waits for the next event of the host and checks its kind.
func (f *fleet) event(kind plugin.EventKind) plugin.Event {
	f.Helper()
	select {
	case e := <-f.events:
		require.Equal(f, kind.String(), e.Kind.String(), "%+v", e)
		return e
	case <-time.After(waitTimeout):
		require.Fail(f, "no event", "%s", kind)
		return plugin.Event{}
	}
}

// logBuffer stores the log of the host.
type logBuffer struct {
	mu      sync.Mutex
	content bytes.Buffer
	changed chan struct{} // is closed by the next write
}

func newLogBuffer() *logBuffer { return &logBuffer{changed: make(chan struct{})} }

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	return l.content.Write(p)
}

// await waits until the log contains all given texts.
func (l *logBuffer) await(t *testing.T, texts ...string) {
	t.Helper()
	deadline := time.After(waitTimeout)
	for {
		l.mu.Lock()
		content, changed := l.content.Bytes(), l.changed
		missing := ""
		for _, s := range texts {
			if !bytes.Contains(content, []byte(s)) {
				missing = s
			}
		}
		l.mu.Unlock()
		if missing == "" {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			require.Fail(t, "not logged", missing)
		}
	}
}
