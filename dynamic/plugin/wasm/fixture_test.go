package wasm

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// services parses service declarations. TEXT in a declaration stands for the types of a method
// whose request and response are a StringValue.
func services(t testing.TB, declarations string) []*registry.Service {
	t.Helper()
	parsed, err := parseServices(declarations)
	require.NoError(t, err)
	return parsed
}

func parseServices(declarations string) ([]*registry.Service, error) {
	source := `
		syntax = "proto3";
		package test;
		import "options.proto";
		import "google/protobuf/wrappers.proto";
	` + strings.ReplaceAll(declarations, "TEXT", "(google.protobuf.StringValue) returns (google.protobuf.StringValue)")
	reg := registry.New()
	err := reg.ParseProto(fstest.MapFS{"test.proto": {Data: []byte(source)}}, "test.proto")
	return reg.Services(), err
}

// bytesMethods lists the methods of testdata/bytesguest in alphabetical order.
var bytesMethods = []string{
	"Count", "Deadline", "Done", "Echo", "Exit", "Fail", "Goexit", "Grow", "Log", "Loop", "Overflow", "Panic", "Random", "Reach", "Sleep", "Throw",
}

// echoService declares the service that echoModule implements.
const echoService = `service Bytes { rpc Echo TEXT; }`

func bytesService() string {
	return "service Bytes { rpc " + strings.Join(bytesMethods, " TEXT; rpc ") + " TEXT; }"
}

// logText stores log output that a test can read.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logText) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// newTestLoader returns a loader and its log. The loader is closed when the test ends.
func newTestLoader(t testing.TB, opts ...Option) (*Loader, *logText) {
	t.Helper()
	log := &logText{}
	loader, err := NewLoader(append([]Option{WithLogger(log.logger()), WithCacheDir(cacheDir())}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, loader.Close()) })
	return loader, log
}

// guestCode is a loaded plugin and its log.
type guestCode struct {
	*loadedPlugin
	log *logText
}

// load loads a module, which is closed when the test ends.
func load(t testing.TB, content []byte, declarations string, limits plugin.Limits, opts ...Option) *guestCode {
	t.Helper()
	loader, log := newTestLoader(t, opts...)
	source := &plugin.Source{
		Manifest: plugin.Manifest{Name: "tested", Version: "3", Limits: limits},
		Content:  content, Services: services(t, declarations),
	}
	loaded, err := loader.Load(t.Context(), source, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, loaded.Close(context.Background())) })
	return &guestCode{loaded.(*loadedPlugin), log}
}

// bytesCode is the module of testdata/bytesguest, loaded once for all tests. It is never closed.
type bytesCode struct {
	loaded   *loadedPlugin
	services []*registry.Service
}

// loadBytesCode loads the module of testdata/bytesguest with a loader.
var loadBytesCode = sync.OnceValues(func() (*bytesCode, error) {
	content, err := buildBytesGuest()
	if err != nil {
		return nil, err
	}
	declared, err := parseServices(bytesService())
	if err != nil {
		return nil, err
	}
	loader, err := NewLoader(WithCacheDir(cacheDir()))
	if err != nil {
		return nil, err
	}
	instance, err := loader.Load(context.Background(), &plugin.Source{Content: content, Services: declared}, nil)
	if err != nil {
		return nil, err
	}
	return &bytesCode{instance.(*loadedPlugin), declared}, nil
})

// loadBytes returns a plugin with the module of testdata/bytesguest. The plugin has its own limits,
// log and instances. It shares the compiled module with other tests, because checking and
// instrumenting the module takes long with the race detector.
func loadBytes(t testing.TB, limits plugin.Limits) *guestCode {
	t.Helper()
	code, err := loadBytesCode()
	require.NoError(t, err)
	loader, log := newTestLoader(t)
	p, err := loader.newPlugin(&plugin.Source{Manifest: plugin.Manifest{Name: "tested", Version: "3", Limits: limits}})
	require.NoError(t, err)
	p.runtime, p.compiled = code.loaded.runtime, code.loaded.compiled
	require.NoError(t, p.start(t.Context(), code.services))
	t.Cleanup(func() {
		for _, in := range p.pool.idle {
			in.close()
		}
		p.pool.close()
	})
	return &guestCode{p, log}
}

// loadError loads a module that must fail to load, and returns the error.
func loadError(t testing.TB, content []byte, declarations string, opts ...Option) error {
	t.Helper()
	loader, _ := newTestLoader(t, opts...)
	source := &plugin.Source{Content: content}
	if declarations != "" {
		source.Services = services(t, declarations)
	}
	_, err := loader.Load(t.Context(), source, nil)
	require.Error(t, err)
	return err
}

// call calls a method of the service Bytes as a server would.
func (c *guestCode) call(ctx context.Context, method, request string) (string, error) {
	for index, name := range bytesMethods {
		if name == method {
			response, err := c.serve(ctx, c.method(method), uint32(index), []byte(request))
			return string(response), err
		}
	}
	panic(fmt.Sprintf("there is no method %s", method))
}

func (c *guestCode) method(name string) *registry.Method {
	service, err := registry.NewService(c.services[0].Descriptor)
	if err != nil {
		panic(err)
	}
	method, ok := service.Method(name)
	if !ok {
		panic("there is no method " + name)
	}
	return method
}

// echo calls Echo, which is the only method of echoModule.
func (c *guestCode) echo(t testing.TB, request string) (string, error) {
	t.Helper()
	return c.echoWithin(t.Context(), request)
}

func (c *guestCode) echoWithin(ctx context.Context, request string) (string, error) {
	response, err := c.serve(ctx, c.method("Echo"), 0, []byte(request))
	return string(response), err
}

// reportRunning returns an option for a module that imports env.running. When the module calls that
// function, the channel running receives a value.
func reportRunning(running chan<- struct{}) Option {
	return WithModule(func(ctx context.Context, _ *plugin.Source, runtime wazero.Runtime) error {
		_, err := runtime.NewHostModuleBuilder("env").NewFunctionBuilder().
			WithFunc(func() { running <- struct{}{} }).Export("running").Instantiate(ctx)
		return err
	})
}

// importRunning is the import for reportRunning.
var importRunning = imported{"env", "running", signature{}}

// requireCode checks the code of err and returns err as an errors.Error.
func requireCode(t testing.TB, code errors.ErrorCode, err error) errors.Error {
	t.Helper()
	coded, ok := errors.AsType[errors.Error](err)
	require.True(t, ok, "%T: %v", err, err)
	require.Equal(t, code, coded.Code(), err)
	return coded
}

// awaitRunning waits until the method Loop or Sleep has begun n times.
func (c *guestCode) awaitRunning(t testing.TB, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Count(c.log.String(), "msg=running") == n }, time.Minute, time.Millisecond)
}

// endingContext is a context that ends with err when the test closes the channel ended. Its
// deadline is so late that no test reaches it.
type endingContext struct {
	context.Context

	deadline time.Time
	ended    chan struct{}
	err      error
}

func (c *endingContext) Deadline() (time.Time, bool) { return c.deadline, true }

func (c *endingContext) Done() <-chan struct{} { return c.ended }

func (c *endingContext) Err() error {
	select {
	case <-c.ended:
		return c.err
	default:
		return nil
	}
}

// endWhen calls the argument call with a context, and returns its error. When the function running
// has returned, the context ends with err. The deadline of the context is half an hour away.
func endWhen(t testing.TB, err error, running func(), call func(ctx context.Context) error) error {
	t.Helper()
	ctx := &endingContext{Context: t.Context(), deadline: time.Now().Add(30 * time.Minute), ended: make(chan struct{}), err: err}
	result := make(chan error, 1)
	go func() { result <- call(ctx) }() // this goroutine ends below, because the context ends
	func() {
		defer close(ctx.ended) // also if running fails the test
		running()
	}()
	return receive(t, result, "the call has not ended with its context")
}

// receive receives a value from a channel. If none arrives within a minute, the test fails with the
// given message.
func receive[T any](t testing.TB, values <-chan T, message string) T {
	t.Helper()
	select {
	case value := <-values:
		return value
	case <-time.After(time.Minute):
		require.FailNow(t, message)
		panic("unreachable")
	}
}

// receiveRunning waits until the module of [reportRunning] calls the function running.
func receiveRunning(t testing.TB, running <-chan struct{}) {
	t.Helper()
	receive(t, running, "the module has not reported that it is running")
}

// within returns a context with a timeout. It is canceled when the test ends.
func within(t testing.TB, timeout time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	return ctx
}
