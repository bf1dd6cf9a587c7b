package doctor_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/doctor"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

func TestReach_BrokerIsDown(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func() (url string, stop func()){
		"redis": func() (string, func()) { r := testenv.Redis(t); return r.URL(), r.Kill },
		"nats":  func() (string, func()) { n := testenv.NATS(t); return n.URL(), n.Server().Shutdown },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, stop := start()
			b := open(t, url)
			asked := newFleet(t, b)
			stop()
			report, err := doctor.Examine(t.Context(), doctor.Target{Bus: b, Fleet: asked}, doctor.Options{Window: window, Wait: patience})
			require.NoError(t, err)
			assert.True(t, report.Unreachable)
			f := onlyFinding(t, report)
			assert.Equal(t, "bus.reach", f.Check)
			assert.Equal(t, doctor.Error, f.Severity)
			assert.NotEmpty(t, report.Skipped)
		})
	}
}

func TestRoundTrip_BrokerIsFarAway(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{"redis": testenv.Redis(t).URL(), "nats": testenv.NATS(t).URL()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scheme, address, _ := strings.Cut(url, "://")
			proxy := testenv.NewProxy(t, address)
			b := open(t, scheme+"://"+proxy.Addr())
			proxy.Delay(30 * time.Millisecond)
			f := finding(t, b, "bus.rtt")
			assert.Equal(t, doctor.Warning, f.Severity)
			assert.Regexp(t, ` m?s to answer, and a call takes two to four such times$`, f.Seen)
		})
	}
}

// otherBroker is a bus that reports invented facts about its broker. It stands for brokers that a
// test cannot start.
type otherBroker struct {
	bus.Informed

	change func(*bus.Info)
}

func (o otherBroker) Info(ctx context.Context) (bus.Info, error) {
	info, err := o.Informed.Info(ctx)
	o.change(&info)
	return info, err
}

func TestVersion_BrokerIsOld(t *testing.T) {
	t.Parallel()
	for name, old := range map[string]string{"redis": "6.2.14", "nats": "2.8.4"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := onNATS(t)
			if name == "redis" {
				n = onRedis(t)
			}
			f := finding(t, otherBroker{n.open(t, "").(bus.Informed), func(i *bus.Info) { i.Version = old }}, "bus.version")
			assert.Contains(t, f.Seen, name+" "+old+" lacks ")
			newer := otherBroker{n.open(t, "").(bus.Informed), func(i *bus.Info) { i.Version = "10.0.1" }}
			assert.Equal(t, doctor.OK, examine(t, newer, "bus.version").Worst())
		})
	}
}

// A user may lack the permission to ask the servers, to list channels and connections, or to read
// the broker's settings. The check must report each of these problems.
func TestACL_UserMayNotAsk(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "users.acl")
	require.NoError(t, os.WriteFile(file, []byte(`
user stranger on >secret resetchannels -@all +ping +hello +client +subscribe +unsubscribe +publish &DynpsrpcFleet|CLI_* &DynpsrpcFleet|Changes|REQ
user viewer on >secret allchannels ~* +@all -pubsub|channels -pubsub|shardchannels -client|list
user blind on >secret allchannels ~* +@all -info -config
user default off
`), 0o600))
	url := strings.Replace(testenv.Redis(t, "--aclfile", file).URL(), "://", "://USER:secret@", 1)
	report := examine(t, open(t, strings.Replace(url, "USER", "stranger", 1)), "bus.acl")
	assert.Equal(t, doctor.Error, report.Worst(), "%+v", report)
	report = examine(t, open(t, strings.Replace(url, "USER", "viewer", 1)), "bus.acl")
	require.Len(t, report.Findings, 2, "%+v", report)
	assert.Contains(t, report.Findings[0].Seen, "this user may not list channels")
	assert.Contains(t, report.Findings[1].Seen, "this user may not list connections")
	assert.Equal(t, doctor.Warning, report.Worst())

	f := finding(t, open(t, strings.Replace(url, "USER", "blind", 1)), "bus.acl")
	assert.Equal(t, doctor.Warning, f.Severity)
	assert.Contains(t, f.Seen, "the broker keeps something to itself, so that checks of it find nothing: CONFIG GET: NOPERM")

	nats := testenv.NATS(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "stranger", Password: "secret", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: []string{"SRV.>"}},
		}}}
	})
	report = examine(t, open(t, strings.Replace(nats.URL(), "://", "://stranger:secret@", 1)), "bus.acl")
	assert.Equal(t, doctor.Error, report.Worst(), "%+v", report)
}

// deaf opens a connection that sends a command and never reads the replies. Its receive buffer is
// small, so the replies soon fill the output buffer of the broker.
func deaf(t *testing.T, address, command string) {
	t.Helper()
	connection, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	require.NoError(t, connection.(*net.TCPConn).SetReadBuffer(4096))
	_, err = connection.Write([]byte(command))
	require.NoError(t, err)
}

func TestOutputBuffer(t *testing.T) {
	t.Parallel()
	t.Run("limit below the largest frame", func(t *testing.T) {
		t.Parallel()
		f := finding(t, onRedis(t, "--client-output-buffer-limit", "pubsub 1mb 0 0").open(t, ""), "bus.output_buffer")
		assert.Equal(t, "a frame of more than 1 MiB disconnects every subscriber that gets it, and frames may have 32 MiB", f.Seen)
	})
	t.Run("slow subscriber", func(t *testing.T) {
		t.Parallel()
		broker := testenv.Redis(t, "--client-output-buffer-limit", "pubsub 64mb 8mb 60")
		deaf(t, broker.Addr(), "SUBSCRIBE x\r\n")
		admin := redis.NewClient(&redis.Options{Addr: broker.Addr()})
		t.Cleanup(func() { assert.NoError(t, admin.Close()) })
		frame := bytes.Repeat([]byte("x"), 1<<20)
		require.Eventually(t, func() bool { return admin.Publish(t.Context(), "x", frame).Val() == 1 }, time.Minute, time.Millisecond)
		for range 20 {
			require.NoError(t, admin.Publish(t.Context(), "x", frame).Err())
		}
		f := finding(t, open(t, broker.URL()), "bus.output_buffer")
		assert.Regexp(t, `^127\.0\.0\.1:\d+ reads too slowly: .* wait for it, and Redis disconnects it at 64 MiB, or after 1m0s above 8 MiB$`, f.Seen)
	})
}

func TestMaxPayload(t *testing.T) {
	t.Parallel()
	url := testenv.NATS(t, func(o *server.Options) { o.MaxPayload = 64 << 10 }).URL()
	b := open(t, url)
	f := finding(t, b, "bus.max_payload")
	assert.Equal(t, "messages of more than 64 KiB fail with resource_exhausted; usual is 1 MiB", f.Seen)

	// The check must report a method whose messages come near the limit.
	service := parse(t, orders)
	serve(t, open(t, url), "SRV_large", service, handlers(service, echo))
	request := order(service)
	request.Set(request.Descriptor().Fields().ByName("id"), protoString(strings.Repeat("x", 50<<10)))
	_, err := client(t, b, service, "Get").Call(t.Context(), request)
	require.NoError(t, err)
	report := examine(t, b, "bus.max_payload")
	require.Len(t, report.Findings, 2)
	assert.Equal(t, "messages of shop.Orders/Get on SRV_large have 50 KiB on average, and at most 64 KiB pass", report.Findings[1].Seen)
}

func TestSlowConsumers(t *testing.T) {
	t.Parallel()
	broker := testenv.NATS(t, func(o *server.Options) { withMonitor(o) })
	monitor := "http://" + broker.Server().MonitorAddr().String()
	deaf(t, strings.TrimPrefix(broker.URL(), "nats://"), "CONNECT {\"verbose\":false,\"name\":\"sleeper\"}\r\nSUB x 1\r\nPING\r\n")
	b := open(t, broker.URL()+"?monitor="+monitor)
	frame := bytes.Repeat([]byte("x"), 1<<20)
	require.Eventually(t, func() bool { return broker.Server().NumSubscriptions() > 0 }, time.Minute, time.Millisecond)
	for range 40 {
		require.NoError(t, b.Publish(t.Context(), bus.Channel{Name: "x", Subject: "x"}, frame, nil))
	}
	f := finding(t, b, "bus.slow_consumers")
	assert.Contains(t, f.Seen, "(sleeper) reads too slowly")
}

func TestEviction(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		config   []string
		severity doctor.Severity
		seen     string
	}{
		"locks are evicted": {[]string{"--maxmemory", "100mb", "--maxmemory-policy", "volatile-ttl"}, doctor.Error,
			"maxmemory-policy volatile-ttl evicts locks of queues first, so that requests run twice"},
		"locks would be evicted": {[]string{"--maxmemory-policy", "volatile-ttl"}, doctor.Warning,
			"maxmemory-policy volatile-ttl would evict locks of queues first if there were a maxmemory"},
		"memory is used up": {[]string{"--maxmemory", "1mb"}, doctor.Warning, "of 1 MiB are used: when all are, Redis refuses the locks"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := finding(t, onRedis(t, test.config...).open(t, ""), "bus.eviction")
			assert.Equal(t, test.severity, f.Severity)
			assert.Contains(t, f.Seen, test.seen)
		})
	}
}

func TestClusterSlots_MasterIsMissing(t *testing.T) {
	t.Parallel()
	cluster := testenv.RedisCluster(t)
	b := open(t, "redis-cluster://"+strings.Join(cluster.Addrs(), ","))
	assert.Equal(t, doctor.OK, examine(t, b, "bus.cluster_slots").Worst())
	asked := newFleet(t, b)
	// From here on, the other nodes notice within a few seconds that one is missing. The check above
	// needs a cluster that does not take a slow node for a missing one.
	for _, addr := range cluster.Addrs() {
		admin := redis.NewClient(&redis.Options{Addr: addr})
		require.NoError(t, admin.ConfigSet(t.Context(), "cluster-node-timeout", "1000").Err())
		require.NoError(t, admin.Close())
	}
	cluster.Nodes()[2].Kill()
	var report doctor.Report
	require.Eventually(t, func() bool {
		var err error
		report, err = doctor.Examine(t.Context(), doctor.Target{Bus: b, Fleet: asked}, doctor.Options{Wait: patience, Only: []string{"bus.cluster_slots"}})
		require.NoError(t, err)
		return report.Worst() == doctor.Error && len(report.Findings) == 1 && report.Findings[0].Check == "bus.cluster_slots"
	}, time.Minute, 200*time.Millisecond, "%+v", report)
	assert.Regexp(t, `^\d+ of 16384 slots of the cluster have no master`, report.Findings[0].Seen)
}
