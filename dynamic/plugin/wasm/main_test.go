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

// scratch is a directory that all tests share. It contains the built modules and their machine
// code.
var scratch string

// cacheVariable is the name of an environment variable. It tells the example the path of the cached
// machine code.
const cacheVariable = "WASM_TEST_CACHE"

func TestMain(m *testing.M) {
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

// building is locked during a build. Two builds at once would both compile the packages that the
// build cache does not contain yet.
var building sync.Mutex

// buildGuest compiles a program in testdata to WebAssembly.
func buildGuest(name string) ([]byte, error) {
	building.Lock()
	defer building.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	path := filepath.Join(scratch, name+".wasm")
	// WebAssembly has no race detector, so the option -race of the tests must not apply here.
	command := exec.CommandContext(ctx, "go", "build", "-race=false", "-buildmode=c-shared", "-ldflags=-s -w",
		"-o", path, "./testdata/"+name)
	command.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", command, err, output)
	}
	return os.ReadFile(path)
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
