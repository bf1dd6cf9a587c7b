package verbs_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/clitest"
)

// orders is the answer of a server of shop.Orders. The number of calls that the server has handled
// grows by 10 with each step of n.
func orders(version, digest, state string, n int) string {
	return fmt.Sprintf(`{
		"app": "shop", "appVersion": %q, "labels": {"host": "box", "region": "eu"}, "state": %q,
		"health": {"status": "SERVING_STATUS_SERVING", "checks": [{"name": "database", "status": "SERVING_STATUS_SERVING"}]},
		"services": [{"name": "shop.Orders", "wireName": "Orders", "digest": %q, "methods": [
			{"name": "Get", "wireName": "Get", "requireClaim": true, "stats": {
				"callsStarted": %d, "callsOk": %d, "errors": {"not_found": "3800000", "internal": "200000"}, "active": 3,
				"lastCall": "1767355109500000000",
				"duration": {"offset": 155, "counts": [%d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12000000], "max": 2100000}}},
			{"name": "Watch", "wireName": "Watch", "kind": "KIND_SUBSCRIPTION", "routing": "ROUTING_MULTI",
				"topicCount": 6, "stats": {"updatesPublished": 17}}
		]}]
	}`, version, state, digest, 225_400_000+10*n, 221_400_000-3+10*n, 213_400_000+10*n)
}

const (
	oldDigest, newDigest = "wHoR0gAAAAAAAAAAAAAAAA==", "nyxOAQAAAAAAAAAAAAAAAA=="
	serving, draining    = "STATE_SERVING", "STATE_DRAINING"
)

// shop starts three servers. Two of them serve shop.Orders in different versions, and one of these
// drains. The third serves shop.Carts and is not healthy.
func shop(t *testing.T) bus.Bus {
	t.Helper()
	b := newBus(t)
	for _, server := range []*fakeServer{
		{id: "SRV_orders1", age: 52 * time.Hour, answer: func(n int) string { return orders("1.4.2", newDigest, serving, n) }},
		{id: "SRV_orders2", age: 227 * time.Hour, ahead: 2*time.Hour + 30*time.Second, answer: func(int) string { return orders("1.4.1", oldDigest, draining, 0) }},
		{id: "SRV_carts1", age: 250 * time.Second, answer: always(`{
			"app": "carts", "state": "STATE_SERVING",
			"health": {"status": "SERVING_STATUS_NOT_SERVING", "checks": [
				{"name": "cache", "status": "SERVING_STATUS_SERVING"},
				{"name": "database", "status": "SERVING_STATUS_NOT_SERVING", "text": "connection refused", "since": "1767350970000000000"}]},
			"services": [{"name": "shop.Carts", "wireName": "Carts", "digest": "nyxOAgAAAAAAAAAAAAAAAA==", "methods": [
				{"name": "Get", "wireName": "Get", "stats": {"callsStarted": 4, "callsOk": 4,
					"duration": {"offset": 155, "counts": [4], "max": 700000}}}]}]
		}`)},
	} {
		server.start(t, b)
	}
	return b
}

// measured replaces what depends on the clocks and the speed of this machine.
var measured = map[string][]func(string) string{
	"list": {
		clitest.Replace(`, [^ ]+( ns| ms| s)?( +! psrpc doctor)?\n--- exit`, ", TIME$2\n--- exit"),
		clitest.Replace(`local, [^ !]+( ns| ms| s)?`, "local, TIME"),
		clitest.Replace(` ([+-][0-9.]+|0) m?s\b`, " CLOCK"),
		clitest.Replace(`(9f2c4e01|c07a11d2)  [^ ]+( ns| ms| s)? +host`, "$1  RTT  host"),
		clitest.Replace(`(CLOCK|RTT) +`, "$1  "),
	},
	"ping": {
		clitest.Replace(`answered in .*`, "answered in TIME"),
		clitest.Replace(`[0-9.]+(µs| ns| ms| s) +([+-][0-9.]+ m?s|0 ms)`, "RTT  CLOCK"),
		clitest.Replace(`[0-9.]+(µs| ns| ms| s) +\+2h00m`, "RTT  +2h00m"),
		clitest.Replace(`(CLOCK|RTT|s|m) {2,}`, "$1  "),
	},
	"top": {
		clitest.Replace(`(?m)^(shop[^ ]+ +[0-9]+ +[0-9]+ +)[0-9]+ +`, "${1}RATE  "),
		clitest.Replace(`[0-9]+ calls/s`, "RATE calls/s"),
		clitest.Replace(`CALLS/S +`, "CALLS/S  "),
	},
}

// measuredNumbers replaces measured numbers in JSON.
var measuredNumbers = []func(string) string{
	clitest.Replace(`"(rtt|clock|took)_ns":-?[0-9]+`, `"${1}_ns":0`),
	clitest.Replace(`"(started|since)":"[^"]*"`, `"$1":"AT"`),
	clitest.Replace(`"per_second":([0-9]+)[0-9.e+-]*`, `"per_second":$1`),
}

func run(t *testing.T, b bus.Bus, args ...string) clitest.Result {
	t.Helper()
	return clitest.Run(t, clitest.Env{Bus: b, Now: func() time.Time { return noon }}, "", args...)
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func TestOperate_Golden(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		args string
	}{
		{"list", "list"},
		{"list-json", "list -o json"},
		{"list-wide", "list -o wide"},
		{"list-name", "list -o name"},
		{"list-label", "list --label region=eu"},
		{"list-unknown-label", "list --label region=us"},
		{"list-psrpc", "list --psrpc"},
		{"list-scan", "list --scan"},
		{"list-servers", "list Orders"},
		{"list-servers-json", "list Orders -o json"},
		{"list-servers-wide", "list shop.Orders -o wide"},
		{"list-servers-name", "list Carts -o name"},
		{"list-unknown", "list Nothing"},
		{"stats", "stats"},
		{"stats-json", "stats -o json"},
		{"stats-wide", "stats -o wide"},
		{"stats-name", "stats -o name"},
		{"stats-service", "stats --by service --sort errors"},
		{"stats-server", "stats --by server --sort active Orders"},
		{"stats-method", "stats Orders/Get"},
		{"stats-label", "stats --label region=eu --by server"},
		{"stats-unknown", "stats Nothing"},
		{"stats-unknown-label", "stats --label region=us"},
		{"stats-unknown-server", "stats --server SRV_none"},
		{"stats-wrong-by", "stats --by topic"},
		{"stats-wrong-interval", "stats --watch --interval 1ms"},
		{"health", "health"},
		{"health-json", "health -o json"},
		{"health-wide", "health -o wide"},
		{"health-name", "health -o name"},
		{"health-service", "health Orders"},
		{"health-unwell", "health shop.Carts"},
		{"health-drained", "health --server SRV_orders2"},
		{"health-unknown", "health Nothing"},
		{"ping", "ping"},
		{"ping-json", "ping -o json"},
		{"ping-wide", "ping -o wide"},
		{"ping-name", "ping -o name"},
		{"ping-one", "ping SRV_orders1"},
		{"ping-unknown", "ping SRV_none"},
		{"top-once", "top --once --interval 100ms"},
		{"top-name", "top --once --interval 100ms --by server --rows 1 -o name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			verb, _, _ := strings.Cut(c.name, "-")
			clitest.Golden(t, c.name, run(t, shop(t), strings.Fields(c.args)...), append(measuredNumbers, measured[verb]...)...)
		})
	}
}

// If no server answers, each verb must say so and advise the user what to do.
func TestOperate_Nobody(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"list", "stats", "health", "ping", "top --once"} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			result := run(t, newBus(t), strings.Fields(args)...)
			assert.Equal(t, 4, result.Exit)
			assert.Empty(t, result.Stdout)
			assert.Contains(t, result.Stderr, "psrpc: no server answers\n  servers answer if")
		})
	}
}

func TestStats_Watch(t *testing.T) {
	t.Parallel()
	result := run(t, shop(t), "stats", "Orders/Get", "--server", "SRV_orders1", "--interval", "100ms", "--count", "3", "-o", "json")
	require.Equal(t, 0, result.Exit, result.Stderr)
	lines := strings.Split(strings.TrimSpace(result.Stdout), "\n")
	require.Len(t, lines, 3)
	for _, line := range lines[1:] {
		assert.Contains(t, line, `"calls":10,`, "each table is of the time since the table before")
	}
}

// Ctrl-C must end a verb that repeats.
func TestTop_Interrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	result := clitest.Run(t, clitest.Env{Bus: shop(t), Context: ctx, Terminal: true, OnOutput: func(text string) {
		if strings.Contains(text, "shop.Orders/Get") {
			cancel()
		}
	}}, "", "top", "--interval", "100ms", "--color", "never")
	assert.Equal(t, 130, result.Exit)
	assert.Empty(t, result.Stderr)
	assert.Contains(t, result.Stdout, "\x1b[H\x1b[J", "a table takes the place of the one before")
}

func TestTop_OnceKeepsTheScreen(t *testing.T) {
	t.Parallel()
	result := clitest.Run(t, clitest.Env{Bus: shop(t), Terminal: true}, "", "top", "--once", "--interval", "100ms", "--color", "never")
	assert.Equal(t, 0, result.Exit, result.Stderr)
	assert.NotContains(t, result.Stdout, "\x1b")
}
