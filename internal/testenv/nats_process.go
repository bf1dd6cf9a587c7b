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

// NATSProcessServer is a nats-server in a process of its own.
type NATSProcessServer struct {
	addr    string
	process *process
}

// NATSProcess starts a nats-server process with additional command line arguments, and kills it
// when the test ends. The program is built from the nats-server version in go.mod, and cached in
// the user's cache directory.
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

// Addr returns host and port.
func (s *NATSProcessServer) Addr() string { return s.addr }

// URL returns the server's URL, with scheme nats.
func (s *NATSProcessServer) URL() string { return "nats://" + s.addr }

// Kill kills the process and waits until it has ended.
func (s *NATSProcessServer) Kill() { s.process.kill() }

// Start starts the server again after Kill, on the same port, and returns when it accepts
// connections.
func (s *NATSProcessServer) Start() {
	s.process.tb.Helper()
	s.process.restart()
}

// Pause suspends the process until Resume. Its connections stay open but get no answers.
func (s *NATSProcessServer) Pause() {
	s.process.tb.Helper()
	s.process.pause()
}

// Resume continues the process after Pause.
func (s *NATSProcessServer) Resume() {
	s.process.tb.Helper()
	s.process.resume()
}

// natsServerPath builds nats-server if necessary and returns its path.
var natsServerPath = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "dynpsrpc-testenv")
	program := filepath.Join(dir, "nats-server-"+server.VERSION+"-"+runtime.Version()+"-"+runtime.GOARCH)
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
	defer os.RemoveAll(scratch) //nolint:errcheck // a left-over directory is harmless
	built := filepath.Join(scratch, "nats-server")
	build := exec.CommandContext(context.Background(), "go", "build", "-o", built, natsServerPackage) //nolint:gosec // constant arguments
	if said, err := build.CombinedOutput(); err != nil {
		return "", errors.NewErrorf(errors.Internal, "building %s: %w: %s", natsServerPackage, err, said)
	}
	return program, os.Rename(built, program) // atomic, because tests of other packages may build at the same time
})
