package wasm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// scratch is the directory for the built guests and their machine code, which all tests share.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "wasm-test-*"); err != nil {
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

// buildGuest compiles a program of testdata to WebAssembly.
func buildGuest(name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	path := filepath.Join(scratch, name+".wasm")
	build := exec.CommandContext(ctx, "go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", path, "./testdata/"+name)
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=", "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building %s: %w\n%s", name, err, output)
	}
	code, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return code, compile(ctx, code)
}

// compile fills the shared cache of machine code, so that parallel tests do not all compile the
// guest.
func compile(ctx context.Context, content []byte) error {
	loader, err := NewLoader(WithCacheDir(cacheDir()))
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
