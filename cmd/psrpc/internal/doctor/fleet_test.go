package doctor_test

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/doctor"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func protoString(text string) protoreflect.Value { return protoreflect.ValueOfString(text) }

// A server whose connection is half-open does not answer discovery requests, although the broker
// believes that it receives them.
func TestSilent_HalfOpenConnection(t *testing.T) {
	t.Parallel()
	service := parse(t, orders)
	for name, start := range map[string]func() (url, monitor string){
		"redis": func() (string, string) { return testenv.Redis(t).URL(), "" },
		"nats": func() (string, string) {
			broker := testenv.NATS(t, withMonitor)
			return broker.URL(), "?monitor=http://" + broker.Server().MonitorAddr().String()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, monitor := start()
			scheme, address, _ := strings.Cut(url, "://")
			proxy := testenv.NewProxy(t, address)
			serve(t, open(t, url), "SRV_healthy", service, handlers(service, echo))
			serve(t, open(t, scheme+"://"+proxy.Addr()), "SRV_lost", service, handlers(service, echo))
			b := open(t, url+monitor)
			assert.Equal(t, doctor.OK, examine(t, b, "fleet.silent").Worst())
			proxy.BlackHole()
			f := finding(t, b, "fleet.silent")
			assert.Equal(t, "1 server received a question and did not answer, of Orders", f.Seen)
		})
	}
}

// The number of servers that have received a query is known on NATS only if the server's monitor is
// enabled.
func TestSilent_IsNotKnown(t *testing.T) {
	t.Parallel()
	n, service := onNATS(t), parse(t, orders)
	serve(t, n.open(t, ""), "SRV_healthy", service, handlers(service, echo))
	report := examine(t, n.open(t, ""), "fleet.silent")
	assert.Empty(t, report.Passed)
	require.Len(t, report.Skipped, 1)
	assert.Contains(t, report.Skipped[0].Reason, "monitor")
}

// A server that refuses to answer is not silent.
func TestSilent_RefusalIsAnAnswer(t *testing.T) {
	t.Parallel()
	n, service := onRedis(t), parse(t, orders)
	serve(t, n.open(t, ""), "SRV_healthy", service, handlers(service, echo))
	server := dynamic.NewServer(n.open(t, ""), dynamic.WithServerID("SRV_refuses"))
	t.Cleanup(server.Kill)
	_, err := server.Register(service, handlers(service, echo))
	require.NoError(t, err)
	refuse(t, server)
	assert.Equal(t, doctor.OK, examine(t, n.open(t, ""), "fleet.silent").Worst())
}

func TestClock(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		offset   time.Duration
		severity doctor.Severity
		seen     string
	}{
		"ahead":      {1800 * time.Millisecond, doctor.Error, "SRV_clock is 1.8 s ahead: "},
		"behind":     {-500 * time.Millisecond, doctor.Warning, "SRV_clock is "},
		"far behind": {-time.Hour, doctor.Error, "SRV_clock is 1h0m0s behind: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// In virtual time, an answer takes no time, so the offset is exact.
			synctest.Test(t, func(t *testing.T) {
				b := onLocal(t).open(t, "")
				pretend(t, b, "SRV_clock", func() string {
					return fmt.Sprintf(`{"serverId":"SRV_clock","now":"%d","state":"STATE_SERVING"}`, time.Now().Add(test.offset).UnixNano())
				})
				f := finding(t, b, "fleet.clock")
				assert.Equal(t, test.severity, f.Severity)
				assert.Contains(t, f.Seen, test.seen)
				assert.Equal(t, []string{"SRV_clock"}, f.Servers)
			})
		})
	}
}

// serveVersions starts a server for each source of a service, in the given order.
func serveVersions(t *testing.T, n network, sources ...string) {
	t.Helper()
	for i, source := range sources {
		service := parse(t, source)
		serve(t, n.open(t, ""), fmt.Sprintf("SRV_version%d", i), service, handlers(service, echo))
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, n network) {
		serveVersions(t, n, orders, changed(t, "string id = 1;", "int64 id = 1; string note = 2;"))
		f := finding(t, n.open(t, ""), "fleet.versions")
		assert.Equal(t, doctor.Error, f.Severity)
		assert.Regexp(t, `^shop\.Orders has the versions [0-9a-f]{8} \(old, 1 server\) and [0-9a-f]{8} \(new, 1 server\), `+
			`which do not understand each other: shop\.Order\.id is string in the old version and int64 in the new one$`, f.Seen)
		assert.Equal(t, []string{"SRV_version0"}, f.Servers)
		assert.Len(t, f.Differences, 2, "and an added field")
	})
}

func TestVersions_Compatible(t *testing.T) {
	t.Parallel()
	n := onLocal(t)
	serveVersions(t, n, orders, changed(t, "string id = 1;", "string id = 1; string note = 2;"))
	f := finding(t, n.open(t, ""), "fleet.versions")
	assert.Equal(t, doctor.Warning, f.Severity)
	assert.Contains(t, f.Seen, "which understand each other: shop.Order.note was added in the new version")
}

func TestOptions(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, n network) {
		serveVersions(t, n, orders, changed(t, "rpc Reserve(Order) returns (Order) { option (psrpc.options).type = AFFINITY; }",
			"rpc Reserve(Order) returns (Order);"))
		f := finding(t, n.open(t, ""), "fleet.options")
		assert.Equal(t, doctor.Error, f.Severity)
		assert.Regexp(t, `^shop\.Orders/Reserve is AFFINITY in [0-9a-f]{8} and QUEUE in [0-9a-f]{8}: `, f.Seen)
	})
}

func TestNames(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, n network) {
		serveVersions(t, n, orders, changed(t, "package shop;", "package market;"))
		f := finding(t, n.open(t, ""), "fleet.names")
		assert.Equal(t, doctor.Error, f.Severity)
		assert.Equal(t, "market.Orders and shop.Orders have the same name on the bus, Orders: servers of one get requests for the other", f.Seen)
		assert.ElementsMatch(t, []string{"SRV_version0", "SRV_version1"}, f.Servers)
		assert.Equal(t, doctor.OK, examine(t, n.open(t, ""), "fleet.versions", "fleet.options").Worst(),
			"different services are not versions of one")
	})
}

func TestQueueSets_MethodsDiffer(t *testing.T) {
	t.Parallel()
	more := changed(t, "rpc Get(Order) returns (Order);", "rpc Get(Order) returns (Order); rpc Pay(Order) returns (Order);")
	nats, redis := onNATS(t), onRedis(t)
	serveVersions(t, nats, orders, more, more)
	f := finding(t, nats.open(t, ""), "fleet.queue_sets")
	assert.Equal(t, doctor.Warning, f.Severity)
	assert.Equal(t, "servers of the queue of Orders serve different methods, and NATS gives each of them frames of all: "+
		"Get: 1 server, such as SRV_version0; Get, Pay: 2 servers, such as SRV_version1", f.Seen)
	assert.Equal(t, []string{"SRV_version0"}, f.Servers)

	serveVersions(t, redis, orders, more)
	assert.Equal(t, doctor.OK, examine(t, redis.open(t, ""), "fleet.queue_sets").Worst(), "on Redis, each method has a queue of its own")
}

func TestQueueSets_HandlerIsMissing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, n network) {
		service := parse(t, orders)
		serve(t, n.open(t, ""), "SRV_complete", service, handlers(service, echo))
		incomplete := handlers(service, echo)
		delete(incomplete, "Get")
		serve(t, n.open(t, ""), "SRV_incomplete", service, incomplete, dynamic.AllowMissing())
		f := finding(t, n.open(t, ""), "fleet.queue_sets")
		assert.Equal(t, doctor.Error, f.Severity)
		assert.Equal(t, "shop.Orders/Get has no handler on SRV_incomplete, although others of its queue have one: "+
			"some calls fail as unimplemented", f.Seen)
	})
}

func TestRedisDB(t *testing.T) {
	t.Parallel()
	n, service := onRedis(t), parse(t, orders)
	for i, database := range []string{"/0", "/0", "/1"} {
		serve(t, n.open(t, database), fmt.Sprintf("SRV_database%d", i), service, handlers(service, echo))
	}
	f := finding(t, n.open(t, ""), "fleet.redis_db")
	assert.Equal(t, doctor.Error, f.Severity)
	assert.Equal(t, "locks of queues are in several databases, so that each of them runs every request once: "+
		"database 0: 2 servers, such as SRV_database0; database 1: 1 server, such as SRV_database2", f.Seen)
	assert.Equal(t, []string{"SRV_database2"}, f.Servers)
}

// Servers may use different databases if they share no queue: only queues have locks, and each
// service has its own.
func TestRedisDB_WithoutSharedQueues(t *testing.T) {
	t.Parallel()
	n, service := onRedis(t), parse(t, orders)
	other := parse(t, changed(t, "service Orders", "service Others"))
	claimed := parse(t, `syntax = "proto3"; package shop; import "options.proto"; message M {}
		service Claimed { rpc Reserve(M) returns (M) { option (psrpc.options).type = AFFINITY; } }`)
	serve(t, n.open(t, "/0"), "SRV_orders", service, handlers(service, echo))
	serve(t, n.open(t, "/1"), "SRV_others", other, handlers(other, echo))
	for i, database := range []string{"/0", "/1"} {
		serve(t, n.open(t, database), fmt.Sprintf("SRV_claimed%d", i), claimed, handlers(claimed, echo))
	}
	assert.Equal(t, doctor.OK, examine(t, n.open(t, ""), "fleet.redis_db").Worst())
}

// oneVariant returns a function for Target.Variants. It yields one fleet, which uses the same
// broker with other parameters.
func oneVariant(t *testing.T, n network, parameters string, isPrefix bool) func(context.Context, bus.Info, []string) iter.Seq[doctor.Variant] {
	t.Helper()
	return func(context.Context, bus.Info, []string) iter.Seq[doctor.Variant] {
		return func(yield func(doctor.Variant) bool) {
			yield(doctor.Variant{Name: parameters[1:], IsPrefix: isPrefix, Fleet: newFleet(t, n.open(t, parameters))})
		}
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	n, service := onNATS(t), parse(t, orders)
	serve(t, n.open(t, ""), "SRV_plain", service, handlers(service, echo))
	serve(t, n.open(t, "?subject_per_method=true"), "SRV_other", service, handlers(service, echo))
	b := n.open(t, "")
	report, err := doctor.Examine(t.Context(),
		doctor.Target{Bus: b, Fleet: newFleet(t, b), Variants: oneVariant(t, n, "?subject_per_method=true", false)},
		doctor.Options{Wait: patience, Only: []string{"fleet.modes"}})
	require.NoError(t, err)
	f := onlyFinding(t, report)
	assert.Equal(t, doctor.Error, f.Severity)
	assert.Equal(t, "1 server, such as SRV_other, use this broker with subject_per_method=true: "+
		"they and the 1 server here do not hear each other", f.Seen)
}

// Fleets with other prefixes may share a broker, which is no problem. But if there are no servers
// with the prefix of this program, the prefix may be wrong, so there must be a warning.
func TestModes_Prefix(t *testing.T) {
	t.Parallel()
	n, service := onRedis(t), parse(t, orders)
	serve(t, n.open(t, "?prefix=staging"), "SRV_staging", service, handlers(service, echo))
	b := n.open(t, "")
	var found []string
	variants := oneVariant(t, n, "?prefix=staging", true)
	target := doctor.Target{Bus: b, Fleet: newFleet(t, b), Variants: func(ctx context.Context, info bus.Info, prefixes []string) iter.Seq[doctor.Variant] {
		found = prefixes
		return variants(ctx, info, prefixes)
	}}
	report, err := doctor.Examine(t.Context(), target, doctor.Options{Wait: patience, Only: []string{"fleet.modes"}})
	require.NoError(t, err)
	assert.Equal(t, []string{"staging"}, found)
	f := onlyFinding(t, report)
	assert.Equal(t, doctor.Warning, f.Severity)
	assert.Equal(t, "use prefix=staging if you look for these servers", f.Do)

	serve(t, b, "SRV_here", service, handlers(service, echo))
	report, err = doctor.Examine(t.Context(), target, doctor.Options{Wait: patience, Only: []string{"fleet.modes"}})
	require.NoError(t, err)
	assert.Equal(t, doctor.OK, report.Worst())
	assert.Len(t, report.Findings, 1)
}

// If no server uses the prefix of this program, the check must name the prefixes that are in use.
// That includes channels without a prefix.
func TestModes_WrongPrefix(t *testing.T) {
	t.Parallel()
	n, service := onRedis(t), parse(t, orders)
	serve(t, n.open(t, "?prefix=staging:"), "SRV_staging", service, handlers(service, echo))
	serve(t, n.open(t, ""), "SRV_plain", service, handlers(service, echo))
	b := n.open(t, "?prefix=stagin:")
	var found []string
	target := doctor.Target{Bus: b, Fleet: newFleet(t, b), Variants: func(_ context.Context, _ bus.Info, prefixes []string) iter.Seq[doctor.Variant] {
		found = prefixes
		return func(func(doctor.Variant) bool) {}
	}}
	_, err := doctor.Examine(t.Context(), target, doctor.Options{Wait: patience, Only: []string{"fleet.modes"}})
	require.NoError(t, err)
	assert.Equal(t, []string{"", "staging:"}, found)
}

func TestDraining(t *testing.T) {
	t.Parallel()
	b := onLocal(t).open(t, "")
	since := 5 * time.Minute
	pretend(t, b, "SRV_drains", func() string {
		now := time.Now()
		return fmt.Sprintf(`{"serverId":"SRV_drains","now":"%d","state":"STATE_DRAINING","stateSince":"%d",
			"services":[{"name":"shop.Orders","wireName":"Orders","methods":[{"name":"Get","stats":{"active":"2"}}]}]}`,
			now.UnixNano(), now.Add(-since).UnixNano())
	})
	assert.Equal(t, doctor.OK, examine(t, b, "fleet.draining").Worst())
	since = 25 * time.Minute
	f := finding(t, b, "fleet.draining")
	assert.Equal(t, doctor.Warning, f.Severity)
	assert.Equal(t, "SRV_drains has been draining for 25m0s, with 2 running requests", f.Seen)
}

func TestOverload(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, n network) {
		service := parse(t, orders)
		running, finish := make(chan struct{}, 2), make(chan struct{})
		all := handlers(service, echo)
		all["Get"] = dynamic.Raw(func(_ context.Context, _ *registry.Method, request []byte) ([]byte, error) {
			running <- struct{}{}
			<-finish
			return request, nil
		}, dynamic.WithMaxConcurrent(2))
		serve(t, n.open(t, ""), "SRV_busy", service, all)
		calls := client(t, n.open(t, ""), service, "Get")
		ended := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := calls.Call(t.Context(), order(service), dynamic.WithRequestTimeout(30*time.Second))
				ended <- err
			}()
			<-running
		}
		f := finding(t, n.open(t, ""), "fleet.overload")
		assert.Equal(t, doctor.Warning, f.Severity)
		assert.Equal(t, "shop.Orders/Get runs 2 of at most 2 requests on SRV_busy: further ones are refused", f.Seen)
		close(finish)
		require.NoError(t, <-ended)
		require.NoError(t, <-ended)
	})
}

// The function while examines a bus. At the same time, it calls repeat in a loop.
func while(t *testing.T, b bus.Bus, check string, repeat func()) doctor.Report {
	t.Helper()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				repeat()
			}
		}
	}()
	report := examine(t, b, check)
	close(stop)
	<-stopped
	return report
}

func TestErrors(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, n network) {
		service := parse(t, orders)
		failing := handlers(service, func(context.Context, *registry.Method, []byte) ([]byte, error) {
			return nil, errors.NewErrorf(errors.Internal, "the disk is full")
		})
		failing["Reserve"] = dynamic.Raw(func(context.Context, *registry.Method, []byte) ([]byte, error) {
			return nil, errors.NewErrorf(errors.NotFound, "no such order")
		})
		serve(t, n.open(t, ""), "SRV_fails", service, failing)
		get, reserve := client(t, n.open(t, ""), service, "Get"), client(t, n.open(t, ""), service, "Reserve")
		f := onlyFinding(t, while(t, n.open(t, ""), "fleet.errors", func() {
			_, _ = get.Call(t.Context(), order(service))
			_, _ = reserve.Call(t.Context(), order(service))
		}))
		assert.Equal(t, doctor.Warning, f.Severity)
		// The server reads its counters one after the other while calls run, so the share may be a
		// little below 100 %.
		assert.Regexp(t, `^shop\.Orders/Get failed in (100\.0|9\d\.\d) % of \d+ calls within 3\.0 s: internal$`, f.Seen)
		assert.Equal(t, []string{"SRV_fails"}, f.Servers)
	})
}

// If a server has been restarted with the same ID, its counters begin at 0 again.
func TestErrors_ServerStartsAnew(t *testing.T) {
	t.Parallel()
	b := onLocal(t).open(t, "")
	var asked atomic.Int64
	pretend(t, b, "SRV_again", func() string {
		started, internal := asked.Add(1), 100
		if started > 1 {
			internal = 1
		}
		return fmt.Sprintf(`{"serverId":"SRV_again","now":"%d","started":"%d","state":"STATE_SERVING","services":[{"name":"shop.Orders",
			"wireName":"Orders","methods":[{"name":"Get","wireName":"Get","stats":{"callsOk":"50","errors":{"internal":"%d"}}}]}]}`,
			time.Now().UnixNano(), started, internal)
	})
	assert.Equal(t, doctor.OK, examine(t, b, "fleet.errors").Worst())
}

// A server that loses its connection to the broker also loses frames, which the check must report.
func TestLost(t *testing.T) {
	t.Parallel()
	service := parse(t, orders)
	for name, url := range map[string]string{"redis": testenv.Redis(t).URL(), "nats": testenv.NATS(t).URL()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scheme, address, _ := strings.Cut(url, "://")
			proxy := testenv.NewProxy(t, address)
			serve(t, open(t, scheme+"://"+proxy.Addr()), "SRV_loses", service, handlers(service, echo))
			b := open(t, url)
			asked := newFleet(t, b)
			var report doctor.Report
			// Repeat the examination until the connection is cut between the first and the second
			// answers.
			require.Eventually(t, func() bool {
				cut := time.AfterFunc(100*time.Millisecond, proxy.Cut)
				defer cut.Stop()
				var err error
				report, err = doctor.Examine(t.Context(), doctor.Target{Bus: b, Fleet: asked},
					doctor.Options{Window: time.Second, Wait: patience, Only: []string{"fleet.lost"}})
				require.NoError(t, err)
				return report.Worst() == doctor.Warning
			}, time.Minute, time.Millisecond)
			f := onlyFinding(t, report)
			assert.Regexp(t, `^SRV_loses, within 1\.0 s: .*disconnect`, f.Seen)
		})
	}
}

func TestOrphans(t *testing.T) {
	t.Parallel()
	service := parse(t, orders)
	for name, start := range map[string]func() string{
		"redis": func() string { return testenv.Redis(t).URL() },
		"nats": func() string {
			broker := testenv.NATS(t, withMonitor)
			return broker.URL() + "?monitor=http://" + broker.Server().MonitorAddr().String()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := start()
			client(t, open(t, url), service, "Get")
			b := open(t, url)
			f := finding(t, b, "fleet.orphans")
			assert.Regexp(t, `^Orders has 1 client, such as CLI_\w+, and no server$`, f.Seen)
			serve(t, b, "SRV_found", service, handlers(service, echo))
			assert.Equal(t, doctor.OK, examine(t, b, "fleet.orphans").Worst())
		})
	}
}

func TestTopics(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, n network) {
		service := parse(t, orders)
		for i := range 3 {
			p := serve(t, n.open(t, ""), fmt.Sprintf("SRV_topics%d", i), service, handlers(service, echo))
			require.NoError(t, p.registration.RegisterTopic("Room", fmt.Sprintf("own%d", i)))
			if i > 0 {
				require.NoError(t, p.registration.RegisterTopic("Room", "shared"))
			}
		}
		f := finding(t, n.open(t, ""), "fleet.topics")
		assert.Equal(t, doctor.Error, f.Severity)
		assert.Equal(t, "shop.Orders/Room has several servers on 1 topic, such as shared, although its schema allows one: "+
			"requests run more than once (SRV_topics1, SRV_topics2)", f.Seen)
	})
}

// A draining server gets no requests, so another server may take over its topics. The check must
// not report this.
func TestTopics_OfADrainingServer(t *testing.T) {
	t.Parallel()
	n, service := onLocal(t), parse(t, orders)
	for _, id := range []string{"SRV_old", "SRV_new"} {
		p := serve(t, n.open(t, ""), id, service, handlers(service, echo))
		require.NoError(t, p.registration.RegisterTopic("Room", "shared"))
		if id == "SRV_old" {
			require.NoError(t, p.Drain(t.Context()))
		}
	}
	assert.Equal(t, doctor.OK, examine(t, n.open(t, ""), "fleet.topics").Worst())
}

// A server that refuses to answer must be reported with its error.
func TestServers_Refuse(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, n network) {
		server := dynamic.NewServer(n.open(t, ""), dynamic.WithServerID("SRV_refuses"))
		t.Cleanup(server.Kill)
		refuse(t, server)
		f := finding(t, n.open(t, ""), "fleet.servers")
		assert.Equal(t, "refused by 1 server: SRV_refuses: not for you", strings.TrimSuffix(f.Seen, " (from SRV_refuses)"))
	})
}
