package testenv

import (
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/alicebob/miniredis/v2"
)

// RedisServer is a redis-server that a test started.
type RedisServer struct {
	tb      testing.TB
	addr    string
	process *process // nil: miniredis stands in
}

// Redis starts a redis-server process without persistence, and ends it with the test. config are more arguments for
// its command line, such as "--client-output-buffer-limit", "pubsub 1mb 0 0".
//
// If there is no redis-server, and the environment variable CI is not set, miniredis takes its place: it knows the
// commands, but no config, and cannot be killed or paused.
func Redis(tb testing.TB, config ...string) *RedisServer {
	tb.Helper()
	program := findRedisServer(tb)
	if program == "" {
		tb.Log("NO redis-server IN PATH: miniredis stands in, which shows less")
		return &RedisServer{tb: tb, addr: miniredis.RunT(tb).Addr()}
	}
	return startRedis(tb, program, func(int) []string { return config })
}

// RedisTLS starts a Redis server that speaks TLS only, with this certificate. Without redis-server the test is skipped.
func RedisTLS(tb testing.TB, certificate Certificate) *RedisServer {
	tb.Helper()
	return startRedis(tb, requireRedisServer(tb), func(port int) []string {
		return []string{
			portFlag, "0", "--tls-port", strconv.Itoa(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", certificate.File,
			"--tls-cert-file", certificate.File, "--tls-key-file", certificate.KeyFile,
		}
	})
}

// findRedisServer returns "" if there is no redis-server and the test may do without.
func findRedisServer(tb testing.TB) string {
	tb.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil && os.Getenv("CI") != "" {
		tb.Fatalf("install redis-server, 7.0 or later: %v", err)
	}
	return program
}

// requireRedisServer is findRedisServer for tests that cannot do without, and are skipped.
func requireRedisServer(tb testing.TB) string {
	tb.Helper()
	program := findRedisServer(tb)
	if program == "" {
		tb.Skip("install redis-server, 7.0 or later: nothing can stand in")
	}
	return program
}

func startRedis(tb testing.TB, program string, config func(port int) []string) *RedisServer {
	tb.Helper()
	dir := tb.TempDir()
	process, addr := startOnFreePort(tb, program, "Ready to accept connections", func(port int) []string {
		return append([]string{
			portFlag, strconv.Itoa(port), "--bind", host, "--dir", dir,
			"--save", "", "--appendonly", "no", "--loglevel", "notice",
		}, config(port)...)
	})
	return &RedisServer{tb: tb, addr: addr, process: process}
}

// Addr returns host and port.
func (s *RedisServer) Addr() string { return s.addr }

// URL returns the address as a URL of scheme redis.
func (s *RedisServer) URL() string { return "redis://" + s.addr }

// Kill ends the process without a farewell, and returns when it is gone.
func (s *RedisServer) Kill() {
	s.tb.Helper()
	s.requireProcess().kill()
}

// Start starts the server again after Kill, on the same port and empty, and returns when it accepts connections.
func (s *RedisServer) Start() {
	s.tb.Helper()
	s.requireProcess().restart()
}

// Pause stops the process as it is: its connections stay open, and nobody answers, until Resume.
func (s *RedisServer) Pause() {
	s.tb.Helper()
	s.requireProcess().pause()
}

// Resume continues the process after Pause.
func (s *RedisServer) Resume() {
	s.tb.Helper()
	s.requireProcess().resume()
}

// requireProcess fails the test if miniredis stands in.
func (s *RedisServer) requireProcess() *process {
	s.tb.Helper()
	if s.process == nil {
		s.tb.Fatal("install redis-server, 7.0 or later: the one that stands in cannot be killed or paused")
	}
	return s.process
}
