package testenv

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	sentinelMaster = "testmaster"
	sentinelConfig = `port %d
bind %s
dir %s
sentinel monitor %s %s %s 1
sentinel down-after-milliseconds %[4]s 3000
sentinel failover-timeout %[4]s 3000
`
)

// RedisSentinelServers contains a master, its replica, and a sentinel that monitors both.
type RedisSentinelServers struct {
	master, replica *RedisServer
	sentinel        string
}

// RedisSentinel starts a master, its replica and a sentinel, and waits until the sentinel is ready
// for a failover. The sentinel waits until the master has been unreachable for three seconds before
// it starts a failover, so that it does not replace a master that is merely short of CPU time. The
// failover takes another one or two seconds.
func RedisSentinel(tb testing.TB) *RedisSentinelServers {
	tb.Helper()
	program := requireRedisServer(tb)
	s := &RedisSentinelServers{}
	s.master = startRedis(tb, program, func(int) []string { return []string{replicaDelayFlag, "0"} })
	masterHost, masterPort, err := net.SplitHostPort(s.master.Addr())
	if err != nil {
		tb.Fatal(err)
	}
	s.replica = startRedis(tb, program, func(int) []string {
		return []string{"--replicaof", masterHost, masterPort, replicaDelayFlag, "0"}
	})
	// Wait until the replica is connected before starting the sentinel. A sentinel that does not
	// find the replica at startup looks again only after ten seconds.
	if err := poll(nil, s.replicaLinked); err != nil {
		tb.Fatalf("Redis replica: %v", err)
	}

	dir := tb.TempDir()
	config := filepath.Join(dir, "sentinel.conf") // the sentinel stores its state in this file
	_, s.sentinel = startOnFreePort(tb, program, "+monitor master", func(port int) []string {
		text := fmt.Sprintf(sentinelConfig, port, host, dir, sentinelMaster, masterHost, masterPort)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			tb.Fatal(err)
		}
		return []string{config, "--sentinel"}
	})
	if err := poll(nil, s.sentinelReady); err != nil {
		tb.Fatalf("Redis sentinel: %v", err)
	}
	return s
}

// SentinelAddr returns the sentinel's host and port.
func (s *RedisSentinelServers) SentinelAddr() string { return s.sentinel }

// MasterName returns the name by which the sentinel identifies the master.
func (s *RedisSentinelServers) MasterName() string { return sentinelMaster }

// Master returns the server that was started as the master.
func (s *RedisSentinelServers) Master() *RedisServer { return s.master }

// Replica returns the server that was started as the replica.
func (s *RedisSentinelServers) Replica() *RedisServer { return s.replica }

func (s *RedisSentinelServers) replicaLinked() error {
	client := redis.NewClient(&redis.Options{Addr: s.replica.Addr()})
	defer client.Close() //nolint:errcheck // the client is no longer used
	return replicaLinked(context.Background(), client)
}

func (s *RedisSentinelServers) sentinelReady() error {
	client := redis.NewSentinelClient(&redis.Options{Addr: s.sentinel})
	defer client.Close() //nolint:errcheck // the client is no longer used
	replicas, err := client.Replicas(context.Background(), sentinelMaster).Result()
	if err != nil {
		return err
	}
	if len(replicas) != 1 || replicas[0]["flags"] != "slave" || replicas[0]["master-link-status"] != "ok" {
		return errors.NewErrorf(errors.Unavailable, "the sentinel does not report the replica: %v", replicas)
	}
	return nil
}
