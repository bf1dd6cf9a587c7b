package wasm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// scratch is a directory that all tests share. It contains the built modules and their machine
// code.
var scratch string

// These environment variables are passed from the tests to the processes that they start.
const (
	// moduleToCompile contains the path of the module that the process compiles to machine code.
	moduleToCompile = "WASM_TEST_MODULE"
	// cacheVariable contains the directory of the shared machine code, which the example uses too.
	cacheVariable = "WASM_TEST_CACHE"
)

func TestMain(m *testing.M) {
	if module := os.Getenv(moduleToCompile); module != "" {
		if err := compile(context.Background(), module, os.Getenv(cacheVariable)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	var err error
	if scratch, err = os.MkdirTemp("", "wasm-test-*"); err != nil {
		panic(err)
	}
	if err = os.Setenv(cacheVariable, cacheDir()); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		os.RemoveAll(scratch)
		os.Exit(status)
	}))
}

var (
	buildBytesGuest = sync.OnceValues(func() ([]byte, error) { return buildGuest("bytesguest") })
	buildEchoGuest  = sync.OnceValues(func() ([]byte, error) { return buildGuest("echoguest") })
	buildProtoGuest = sync.OnceValues(func() ([]byte, error) { return buildGuest("protoguest") })
)

// buildGuest compiles a program in testdata to WebAssembly. It compiles the WebAssembly to machine
// code and stores that in the shared cache.
func buildGuest(name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	path := filepath.Join(scratch, name+".wasm")
	wasip1 := []string{"GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0"}
	if err := run(ctx, wasip1, "go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", path, "./testdata/"+name); err != nil {
		return nil, err
	}
	program, err := compiler()
	if err != nil {
		return nil, err
	}
	if err := run(ctx, []string{moduleToCompile + "=" + path}, program); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// compiler builds a test binary without the race detector and returns its path. The race detector
// would make wazero's compiler ten times slower.
var compiler = sync.OnceValues(func() (path string, err error) {
	path = filepath.Join(scratch, "compiler")
	return path, run(context.Background(), nil, "go", "test", "-c", "-vet=off", "-o", path, ".")
})

// run runs a command with additional environment variables.
func run(ctx context.Context, env []string, name string, args ...string) error {
	command := exec.CommandContext(ctx, name, args...)
	command.Env = slices.Concat(os.Environ(), []string{"GOFLAGS="}, env)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", command, err, output)
	}
	return nil
}

// compile compiles a WebAssembly file and stores the machine code in a cache.
func compile(ctx context.Context, file, cache string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	loader, err := NewLoader(WithCacheDir(cache))
	if err != nil {
		return err
	}
	defer loader.Close()
	runtime := loader.newRuntime(ctx)
	defer runtime.Close(ctx)
	_, err = compileModule(ctx, runtime, content)
	return err
}

func cacheDir() string { return filepath.Join(scratch, "cache") }

func bytesGuest(t testing.TB) []byte { return built(t, buildBytesGuest) }
func echoGuest(t testing.TB) []byte  { return built(t, buildEchoGuest) }
func protoGuest(t testing.TB) []byte { return built(t, buildProtoGuest) }

func built(t testing.TB, build func() ([]byte, error)) []byte {
	t.Helper()
	code, err := build()
	require.NoError(t, err)
	return code
}
