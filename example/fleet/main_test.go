package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// build compiles the program and returns the path of the executable.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "fleet")
	said, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, "%s", said)
	return program
}

func command(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, program, args...)
}

// server is a process that runs the program as a server.
type server struct {
	t *testing.T
	*exec.Cmd
	output *bufio.Reader
}

// startServer starts a server process and waits until clients can reach it.
func startServer(t *testing.T, program, url, region string) *server {
	t.Helper()
	c := command(t, program, "server", "--bus", url, "--region", region)
	c.Stderr = os.Stderr
	output, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	s := &server{t: t, Cmd: c, output: bufio.NewReader(output)}
	line, err := s.output.ReadString('\n')
	require.NoError(t, err)
	require.Regexp(t, `^SRV_\w+ serves region `+region+"\n$", line)
	return s
}

// stop sends a signal to the server and waits until it has exited. It returns the number of
// greetings that the server reports.
func (s *server) stop(signal os.Signal) int {
	s.t.Helper()
	require.NoError(s.t, s.Process.Signal(signal))
	said, err := io.ReadAll(s.output)
	require.NoError(s.t, err)
	require.NoError(s.t, s.Wait(), "%s", said)
	stopped := regexp.MustCompile(`^SRV_\w+ stopped after (\d+) greetings\n$`).FindSubmatch(said)
	require.NotNil(s.t, stopped, "%s", said)
	greetings, err := strconv.Atoi(string(stopped[1]))
	require.NoError(s.t, err)
	return greetings
}

// runClient runs the program as a client and returns its output lines.
func runClient(t *testing.T, program, url, region string, count int) []string {
	t.Helper()
	c := command(t, program, "client", "--bus", url, "--region", region, "--count", strconv.Itoa(count))
	var complaints bytes.Buffer
	c.Stderr = &complaints
	output, err := c.Output()
	require.NoError(t, err, "%s%s", output, &complaints)
	return strings.Split(strings.TrimSpace(string(output)), "\n")
}

// requireFailure runs the program and requires that it exits with code 1. It returns the standard
// error of the program.
func requireFailure(t *testing.T, program string, args ...string) string {
	t.Helper()
	c := command(t, program, args...)
	var complaints bytes.Buffer
	c.Stderr = &complaints
	_ = c.Run()
	require.Equal(t, 1, c.ProcessState.ExitCode(), "%s", &complaints)
	return complaints.String()
}

func TestFleet(t *testing.T) {
	t.Parallel()
	program := build(t)
	for name, broker := range map[string]func(*testing.T) (url string){
		"Redis": func(t *testing.T) string { return testenv.Redis(t).URL() },
		"NATS":  func(t *testing.T) string { return testenv.NATS(t).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testFleet(t, program, broker(t))
		})
	}
	t.Run("Failures", func(t *testing.T) {
		t.Parallel()
		testFailures(t, program)
	})
}

func testFleet(t *testing.T, program, url string) {
	eu, us := startServer(t, program, url, "eu"), startServer(t, program, url, "us")
	const calls = 10
	said := runClient(t, program, url, "us", calls)
	require.Len(t, said, calls+2)
	for i, line := range said[:calls] {
		assert.Regexp(t, `^SRV_\w+ in (eu|us) says hello to caller `+strconv.Itoa(i+1)+"$", line)
	}
	assert.Equal(t, "weather: it rains in us", said[calls])
	assert.Regexp(t, `^news: SRV_\w+ sent \d+ greetings$`, said[calls+1])
	complaint := requireFailure(t, program, "client", "--bus", url, "--region", "moon", "--count", "0")
	assert.Contains(t, complaint, "fleet: cannot call Weather in region moon: ")
	assert.Contains(t, complaint, "nobody")

	total := eu.stop(syscall.SIGTERM)
	for _, line := range runClient(t, program, url, "us", calls)[:calls] {
		assert.Contains(t, line, " in us says hello to ")
	}
	total += us.stop(syscall.SIGINT)
	assert.Equal(t, 2*calls, total, "each call went to one server")

	complaint = requireFailure(t, program, "client", "--bus", url)
	assert.Contains(t, complaint, "fleet: cannot call Greet, call 1: ")
	assert.Contains(t, complaint, "nobody")
}

func testFailures(t *testing.T, program string) {
	proxy := testenv.NewProxy(t, "nothing behind it")
	proxy.Refuse()
	for _, scheme := range []string{"redis", "nats"} {
		for _, role := range []string{"server", "client"} {
			complaint := requireFailure(t, program, role, "--bus", scheme+"://"+proxy.Addr())
			assert.Contains(t, complaint, "fleet: cannot open the bus: ")
			assert.Contains(t, complaint, proxy.Addr())
		}
	}
	assert.Contains(t, requireFailure(t, program, "client", "--bus", "nosuch://host"), `no bus driver for scheme "nosuch"`)
	assert.Contains(t, requireFailure(t, program), "usage: fleet server|client")
	assert.Contains(t, requireFailure(t, program, "client", "extra"), `unexpected argument "extra": usage: `)
}
