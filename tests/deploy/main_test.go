package deploy

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// root is the root folder of the module that is deployed.
const root = "../.."

// binaries is the folder of the programs that the tests build.
var binaries string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	var err error
	if binaries, err = os.MkdirTemp("", "dynpsrpc-deploy"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(binaries)
	return m.Run()
}

var buildPsrpc = sync.OnceValues(func() (output []byte, err error) {
	build := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(binaries, "psrpc"), "./cmd/psrpc")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	return build.CombinedOutput()
})

// psrpc returns the path of the program psrpc, built as make dist builds it.
func psrpc(t *testing.T) string {
	t.Helper()
	output, err := buildPsrpc()
	require.NoError(t, err, "%s", output)
	return filepath.Join(binaries, "psrpc")
}

// tool returns the path of a program. If the program is missing, the test is skipped, or fails in
// CI.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v: make deploy installs it", err)
		}
		t.Skipf("%v: make deploy installs it", err)
	}
	return path
}

// run runs a program and returns its output, which goes into the error message if the program fails.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, "%s %v\n%s", name, args, output)
	return string(output)
}

// read returns the content of a file in the folder deploy.
func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, "deploy", path))
	require.NoError(t, err)
	return content
}

const greeter = `
	syntax = "proto3";
	package greeting;
	import "google/protobuf/wrappers.proto";
	service Greeter {
	  rpc Hello(google.protobuf.StringValue) returns (google.protobuf.StringValue);
	}`

// serveGreeter serves greeting.Greeter on a bus until the test ends. The server also answers
// queries for its schema.
func serveGreeter(t *testing.T, b bus.Bus) {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(fstest.MapFS{"greeter.proto": {Data: []byte(greeter)}}, "greeter.proto"))
	service, err := reg.FindService("greeting.Greeter")
	require.NoError(t, err)
	server := dynamic.NewServer(b)
	t.Cleanup(server.Kill)
	_, err = server.Register(service, dynamic.Handlers{
		"Hello": dynamic.Unary(func(_ context.Context, name *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
			return wrapperspb.String("Hello, " + name.GetValue()), nil
		}),
	})
	require.NoError(t, err)
	_, err = fleet.Serve(server)
	require.NoError(t, err)
}
