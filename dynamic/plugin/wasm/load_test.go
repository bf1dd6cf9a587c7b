package wasm

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestLoad_CodeThatIsNotOfTheABI(t *testing.T) {
	t.Parallel()
	withImport := func(module, name string, s signature) *assembled {
		m := echoModule()
		m.imports = []imported{{module, name, s}}
		return m
	}
	withSignature := func(export string, s signature, body ...byte) *assembled {
		m := echoModule().with(export, body...)
		m.functions[m.index(export)].signature = s
		return m
	}
	started := func(body ...byte) *assembled {
		m := echoModule()
		m.start = len(m.functions)
		m.functions = append(m.functions, function{body: append(body, opcodeEnd)[:len(body)]})
		return m
	}
	initialized := func(body ...byte) *assembled {
		m := echoModule()
		m.functions = append(m.functions, function{export: "_initialize", body: body})
		return m
	}
	large, program := echoModule(), echoModule()
	large.pages = 2000
	program.functions = append(program.functions, function{export: "_start"})
	bare := &assembled{start: -1, functions: []function{{export: "other"}}}
	noMemory := echoModule()
	noMemory.pages, noMemory.list = 0, ""

	for name, test := range map[string]struct {
		module *assembled
		errors []string
	}{
		"nothing": {bare, []string{
			`function dynpsrpc_version`, `function dynpsrpc_alloc`, `function dynpsrpc_describe`, `function dynpsrpc_call`, `memory as "memory"`,
		}},
		"no alloc":           {echoModule().without(exportAlloc), []string{"does not export function dynpsrpc_alloc"}},
		"no memory":          {noMemory, []string{`does not export its memory as "memory"`}},
		"much memory":        {large, []string{"needs 131072000 bytes of memory to start: the limit is 67108864"}},
		"a program":          {program, []string{"-buildmode=c-shared"}},
		"signature of alloc": {withSignature(exportAlloc, signature{}), []string{"dynpsrpc_alloc() -> (): want (i32) -> (i32)"}},
		"newer version":      {echoModule().with(exportVersion, i32Const(2)...), []string{"ABI version 2", "runs version 1"}},
		"older version":      {echoModule().with(exportVersion, i32Const(-1)...), []string{"ABI version 4294967295"}},
		"version traps":      {echoModule().with(exportVersion, opUnreachable), []string{"unreachable"}},
		"describe traps":     {echoModule().with(exportDescribe, opUnreachable), []string{"unreachable"}},
		"describe beyond": {
			echoModule().with(exportDescribe, i64Const(65530<<32|100)...), []string{"100 bytes at address 65530, which is beyond the end of memory"},
		},
		"describe too long": {echoModule().with(exportDescribe, i64Const(1<<31-1)...), []string{"2147483647 bytes, which exceeds"}},
		"describe nothing":  {echoModule().with(exportDescribe, i64Const(0)...), []string{"module has no handlers: in Go, register them with guest.Handle in an init function"}},
		"start traps":       {started(opUnreachable), []string{"unreachable"}},
		"initialize traps":  {initialized(opUnreachable), []string{"cannot start an instance", "unreachable"}},
		"import of no module": {
			withImport("env", "f", signature{}), []string{"imports env.f, but the host has no module env"},
		},
		"import of no function": {
			withImport(hostModuleName, "f", signature{}), []string{"imports dynpsrpc.f, which is not a function of that host module"},
		},
		"import of WASI that is not": {
			withImport("wasi_snapshot_preview1", "f", signature{}), []string{"imports wasi_snapshot_preview1.f"},
		},
		"import with another signature": {
			withImport(hostModuleName, "clock", signature{[]api.ValueType{i32}, nil}),
			[]string{"imports dynpsrpc.clock(i32) -> (), but the host's function is () -> (i64)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := loadError(t, test.module.encode(), echoService)
			for _, text := range test.errors {
				assert.ErrorContains(t, err, text)
			}
		})
	}
}

func TestLoad_CodeThatServesSomethingElse(t *testing.T) {
	t.Parallel()
	for declarations, wanted := range map[string][]string{
		`service Bytes { rpc Echo TEXT; rpc More TEXT; }`: {"module has no handler for test.Bytes/More"},
		`service Bytes { rpc Other TEXT; } service Second { rpc Echo TEXT; }`: {
			"no handler for test.Bytes/Other", "no handler for test.Second/Echo", "module serves test.Bytes/Echo, which is not a method",
		},
		`service Bytes { rpc Echo TEXT { option (psrpc.options).stream = true; } }`: {
			"method test.Bytes/Echo is a stream, which WebAssembly plugins do not support",
		},
		`service Bytes { rpc Echo TEXT; rpc Flow TEXT { option (psrpc.options).stream = true; } }`: {
			"method test.Bytes/Flow is a stream",
		},
		`service Bytes { rpc Echo TEXT { option (psrpc.options).subscription = true; } }`: {
			"module has a handler for test.Bytes/Echo, which is a subscription",
		},
		"": {"manifest names no descriptors"},
	} {
		err := loadError(t, echoModule().encode(), declarations)
		for _, text := range wanted {
			assert.ErrorContains(t, err, text)
		}
	}
}

func TestLoad_SubscriptionsAndMultiCalls(t *testing.T) {
	t.Parallel()
	code := load(t, echoModule().encode(), `service Bytes {
		rpc Echo TEXT { option (psrpc.options).type = MULTI; }
		rpc Feed TEXT { option (psrpc.options).subscription = true; }
	}`, plugin.Limits{})
	require.Len(t, code.Services(), 1)
	assert.Len(t, code.Services()[0].Handlers, 1)
	response, err := code.echo(t, "by hand")
	require.NoError(t, err)
	assert.Equal(t, "by hand", response)
}

func TestLoad_Garbage(t *testing.T) {
	t.Parallel()
	for _, garbage := range []string{"", "\x00asm", "not WebAssembly at all", "\x00asm\x02\x00\x00\x00", header + "\xff\xff"} {
		assert.ErrorContains(t, loadError(t, []byte(garbage), echoService), "WebAssembly module")
	}
	assert.Error(t, loadError(t, []byte(header), echoService))
	unknown := echoModule().with(exportVersion, 0xff)
	assert.ErrorContains(t, loadError(t, unknown.encode(), echoService), "unknown instruction 0xff")
}

func TestLoad_StartThatDoesNotEndIsBoundedByTheContext(t *testing.T) {
	t.Parallel()
	m := echoModule()
	m.functions = append(m.functions, function{export: "_initialize", body: endlessLoop})
	loader, _ := newTestLoader(t)
	_, err := loader.Load(within(t, 100*time.Millisecond),
		&plugin.Source{Content: m.encode(), Services: services(t, echoService)}, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestLoad_ContextThatHasEnded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// This loader does not use the machine code that other tests have cached.
	loader, err := NewLoader()
	require.NoError(t, err)
	_, err = loader.Load(ctx, &plugin.Source{Content: echoModule().encode(), Services: services(t, echoService)}, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, loader.Close())
}

func TestLoad_Limits(t *testing.T) {
	t.Parallel()
	source := &plugin.Source{Content: echoModule().encode(), Services: services(t, echoService)}
	source.Limits = plugin.Limits{Timeout: plugin.Duration(time.Hour), Memory: 1 << 30, Instances: 100}
	loader, _ := newTestLoader(t, WithMaxLimits(plugin.Limits{Timeout: plugin.Duration(time.Second), Memory: 1 << 20, Instances: 2}))
	_, err := loader.Load(t.Context(), source, nil)
	for _, text := range []string{"1h0m0s exceeds this host's maximum of 1s", "1073741824 bytes exceeds this host's maximum of 1048576", "100 instances exceed this host's maximum of 2"} {
		require.ErrorContains(t, err, text)
	}
	source.Limits = plugin.Limits{}
	loaded, err := loader.Load(t.Context(), source, nil)
	require.NoError(t, err)
	assert.Equal(t, loader.options.maxLimits, loaded.(*loadedPlugin).limits)
	require.NoError(t, loaded.Close(t.Context()))

	source.Limits = plugin.Limits{Timeout: -1, Memory: -1, Instances: -1}
	_, err = loader.Load(t.Context(), source, nil)
	for _, text := range []string{"timeout is -1ns", "memory is -1 bytes", "number of instances is -1"} {
		require.ErrorContains(t, err, text)
	}
}

func TestLoad_ModulesOfTheProgram(t *testing.T) {
	t.Parallel()
	m := echoModule()
	m.imports = []imported{{"env", "one", signature{nil, []api.ValueType{i32}}}}
	m.with(exportVersion, opcodeCall, 0)
	var given *plugin.Source
	env := WithModule(func(ctx context.Context, source *plugin.Source, runtime wazero.Runtime) error {
		given = source
		_, err := runtime.NewHostModuleBuilder("env").NewFunctionBuilder().
			WithFunc(func() uint32 { return 1 }).Export("one").Instantiate(ctx)
		return err
	})
	code := load(t, m.encode(), echoService, plugin.Limits{}, env)
	response, err := code.echo(t, "given")
	require.NoError(t, err)
	assert.Equal(t, "given", response)
	assert.Equal(t, "tested", given.Name)

	failing := WithModule(func(context.Context, *plugin.Source, wazero.Runtime) error { return errors.New("not today") })
	assert.ErrorContains(t, loadError(t, echoModule().encode(), echoService, failing), "not today")
}

// TestLoader_VersionsOfEqualCodeAreIndependent loads the same module several times at once. The
// instances share machine code, but closing one must not affect the others.
func TestLoader_VersionsOfEqualCodeAreIndependent(t *testing.T) {
	t.Parallel()
	loader, _ := newTestLoader(t)
	source := &plugin.Source{Content: echoModule().encode(), Services: services(t, echoService)}
	var loads sync.WaitGroup
	for range 4 {
		loads.Go(func() {
			for range 10 {
				loaded, err := loader.Load(t.Context(), source, nil)
				if !assert.NoError(t, err) {
					return
				}
				response, err := (&guestCode{loadedPlugin: loaded.(*loadedPlugin)}).echo(t, "x")
				assert.NoError(t, err)
				assert.Equal(t, "x", response)
				assert.NoError(t, loaded.Close(t.Context()))
			}
		})
	}
	loads.Wait()
}

func TestLoader_Close(t *testing.T) {
	t.Parallel()
	loader, err := NewLoader()
	require.NoError(t, err)
	assert.Equal(t, "wasm", loader.Name())
	require.NoError(t, loader.Close())
	require.NoError(t, loader.Close())
	_, err = loader.Load(t.Context(), &plugin.Source{Content: echoModule().encode()}, nil)
	requireCode(t, errors.FailedPrecondition, err)
}

func TestLoader_Options(t *testing.T) {
	t.Parallel()
	_, err := NewLoader(WithMaxResponse(0), WithDefaultLimits(plugin.Limits{Timeout: -1}), WithMaxLimits(plugin.Limits{Memory: -1}))
	requireCode(t, errors.InvalidArgument, err)
	for _, text := range []string{"maximum response size is 0 bytes", "timeout is -1ns", "memory is -1 bytes"} {
		require.ErrorContains(t, err, text)
	}
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = NewLoader(WithCacheDir(file))
	require.ErrorContains(t, err, "cache directory for compiled code")
}

func TestLoader_CacheDirIsUsed(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "made", "here")
	loader, err := NewLoader(WithCacheDir(folder))
	require.NoError(t, err)
	loaded, err := loader.Load(t.Context(), &plugin.Source{Content: echoModule().encode(), Services: services(t, echoService)}, nil)
	require.NoError(t, err)
	require.NoError(t, loaded.Close(t.Context()))
	require.NoError(t, loader.Close())
	files, err := filepath.Glob(filepath.Join(folder, "*", "*"))
	require.NoError(t, err)
	assert.NotEmpty(t, files)
}
