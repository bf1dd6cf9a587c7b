package testenv

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// replicaDelayFlag sets how long a master waits for further replicas before it sends its data to
// the first one.
const replicaDelayFlag = "--repl-diskless-sync-delay"

// RedisServer is a Redis server started by a test.
type RedisServer struct {
	tb      testing.TB
	addr    string
	process *process // nil if the server is miniredis
}

// Redis starts a redis-server process without persistence and kills it when the test ends. config
// contains additional command-line arguments, such as "--client-output-buffer-limit" and "pubsub
// 1mb 0 0".
//
// If redis-server is missing and the environment variable CI is not set, Redis starts miniredis
// instead. miniredis supports the necessary commands, but it ignores config and cannot be killed or
// paused.
func Redis(tb testing.TB, config ...string) *RedisServer {
	tb.Helper()
	program := findRedisServer(tb)
	if program == "" {
		tb.Log("NO redis-server IN PATH: using miniredis, which covers less")
		return &RedisServer{tb: tb, addr: miniredis.RunT(tb).Addr()}
	}
	return startRedis(tb, program, func(int) []string { return config })
}

// RedisTLS starts a Redis server that uses certificate and accepts only TLS connections. If
// redis-server is missing, the test is skipped, or fails if the environment variable CI is set.
func RedisTLS(tb testing.TB, certificate Certificate, config ...string) *RedisServer {
	tb.Helper()
	return startRedis(tb, requireRedisServer(tb), func(port int) []string {
		return append([]string{
			portFlag, "0", "--tls-port", strconv.Itoa(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", certificate.File,
			"--tls-cert-file", certificate.File, "--tls-key-file", certificate.KeyFile,
		}, config...)
	})
}

// findRedisServer returns the path of redis-server. If redis-server is missing and the environment
// variable CI is set, findRedisServer fails the test. If CI is not set, findRedisServer returns "".
func findRedisServer(tb testing.TB) string {
	tb.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil && os.Getenv("CI") != "" {
		tb.Fatalf("install redis-server, 7.0 or later: %v", err)
	}
	return program
}

// requireRedisServer returns the path of redis-server. If redis-server is missing, the test is
// skipped, or fails if the environment variable CI is set.
func requireRedisServer(tb testing.TB) string {
	tb.Helper()
	program := findRedisServer(tb)
	if program == "" {
		tb.Skip("install redis-server, 7.0 or later: this test cannot use miniredis")
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

// Addr returns the server's host and port.
func (s *RedisServer) Addr() string { return s.addr }

// URL returns the server's URL. Its scheme is redis.
func (s *RedisServer) URL() string { return "redis://" + s.addr }

// Kill kills the process and waits until it has exited.
func (s *RedisServer) Kill() {
	s.tb.Helper()
	s.requireProcess().kill()
}

// Start restarts the server after Kill, on the same port and without data. It returns when the
// server accepts connections.
func (s *RedisServer) Start() {
	s.tb.Helper()
	s.requireProcess().restart()
}

// Pause suspends the process until Resume is called. Its connections stay open, but the server does
// not respond.
func (s *RedisServer) Pause() {
	s.tb.Helper()
	s.requireProcess().pause()
}

// Resume resumes the process after Pause.
func (s *RedisServer) Resume() {
	s.tb.Helper()
	s.requireProcess().resume()
}

// requireProcess returns the server's process. It fails the test if the server is miniredis.
func (s *RedisServer) requireProcess() *process {
	s.tb.Helper()
	if s.process == nil {
		s.tb.Fatal("install redis-server, 7.0 or later: miniredis cannot be killed or paused")
	}
	return s.process
}

// replicaLinked returns nil if the replica is connected to its master.
func replicaLinked(ctx context.Context, replica *redis.Client) error {
	info, err := replica.Info(ctx, "replication").Result()
	if err != nil {
		return err
	}
	if !strings.Contains(info, "master_link_status:up") {
		return errors.NewErrorf(errors.Unavailable, "the replica is not connected to its master: %s", info)
	}
	return nil
}
