package testenv

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const natsServerPackage = "github.com/nats-io/nats-server/v2"

// NATSProcessServer is a nats-server that runs in its own process.
type NATSProcessServer struct {
	addr    string
	process *process
}

// NATSProcess starts a nats-server process with additional command-line arguments and kills it when
// the test ends. The program is built from the nats-server version in go.mod and cached in the
// user's cache directory.
func NATSProcess(tb testing.TB, args ...string) *NATSProcessServer {
	tb.Helper()
	program, err := natsServerPath()
	if err != nil {
		tb.Fatal(err)
	}
	process, addr := startOnFreePort(tb, program, "Server is ready", func(port int) []string {
		return append([]string{"--addr", host, portFlag, strconv.Itoa(port)}, args...)
	})
	return &NATSProcessServer{addr: addr, process: process}
}

// Addr returns the server's host and port.
func (s *NATSProcessServer) Addr() string { return s.addr }

// URL returns the server's URL. Its scheme is nats.
func (s *NATSProcessServer) URL() string { return "nats://" + s.addr }

// Kill kills the process and waits until it has exited.
func (s *NATSProcessServer) Kill() { s.process.kill() }

// Start restarts the server after Kill, on the same port. It returns when the server accepts
// connections.
func (s *NATSProcessServer) Start() {
	s.process.tb.Helper()
	s.process.restart()
}

// Pause suspends the process until Resume is called. Its connections stay open, but the server does
// not respond.
func (s *NATSProcessServer) Pause() {
	s.process.tb.Helper()
	s.process.pause()
}

// Resume resumes the process after Pause.
func (s *NATSProcessServer) Resume() {
	s.process.tb.Helper()
	s.process.resume()
}

// natsServerPath returns the path of nats-server, building the program first if necessary.
var natsServerPath = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "dynpsrpc-testenv")
	program := filepath.Join(dir, "nats-server-"+server.VERSION+"-"+runtime.Version()+"-"+runtime.GOARCH+raceSuffix)
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	scratch, err := os.MkdirTemp(dir, "build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch) //nolint:errcheck // a leftover directory is harmless
	built := filepath.Join(scratch, "nats-server")
	// The program is built with the race detector if the tests are. Its packages are then already
	// in the build cache, because the function NATS runs the same server within the test.
	build := exec.CommandContext(context.Background(), "go", "build", "-race="+strconv.FormatBool(raceSuffix != ""), //nolint:gosec // constant arguments
		"-o", built, natsServerPackage)
	if said, err := build.CombinedOutput(); err != nil {
		return "", errors.NewErrorf(errors.Internal, "building %s: %w: %s", natsServerPackage, err, said)
	}
	// Rename the program atomically, because tests of other packages may be building it too.
	return program, os.Rename(built, program)
})
