package doctor

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/similar"
)

// Target is the fleet to examine.
type Target struct {
	Bus   bus.Bus
	Fleet *fleet.Fleet
	// Variants yields the fleets that a bus with other settings would find on the same broker.
	// prefixes are the known prefixes of other fleets on the broker. A variant is used only until
	// the next one is yielded, and can then be closed. Variants may be nil.
	Variants func(ctx context.Context, info bus.Info, prefixes []string) iter.Seq[Variant]
}

// Variant is a fleet that uses the same broker with another setting in the URL of its bus.
type Variant struct {
	// Name is the parameter of the URL that differs, such as "sharded=true".
	Name string
	// IsPrefix is set if the prefix differs. This is not a mistake: fleets with different prefixes
	// may share a broker.
	IsPrefix bool
	Fleet    *fleet.Fleet
}

// Options configures [Examine].
type Options struct {
	// Window is the time between the first and the second answers of the servers. Some checks
	// compute from them how much counters have grown. If Window is 0, these checks are skipped.
	Window time.Duration
	// Wait is how long to wait for servers that do not answer. If it is 0, that is
	// [fleet.DefaultWait].
	Wait time.Duration
	// Only contains the IDs of the checks to run, or their first part, such as "bus". If it is empty,
	// all checks run.
	Only []string
}

// These are the kinds of buses that have a broker. Each kind is also the name of its usual broker.
const (
	kindRedis = "redis"
	kindNATS  = "nats"
)

// check is one check of a fleet. Its run function returns findings without the ID of the check,
// which Examine adds.
type check struct {
	id    string
	about string
	// needs are the parts of the facts without which the check cannot run. asks are the parts that
	// it uses if they are available.
	needs, asks []part
	// cannot returns why the check cannot run although all parts that it needs are known, or "" if
	// it can. cannot may be nil.
	cannot func(*facts) string
	// twice is set if the check compares the first and the second answers; see [Options.Window].
	twice bool
	// kinds are the kinds of bus to which the check applies. If it is empty, the check applies to
	// all.
	kinds []string
	run   func(*facts) []Finding
}

// checks contains all checks in the order in which their findings are reported.
var checks = []check{
	{id: "bus.reach", about: "the broker answers", run: checkReach},
	{id: "bus.rtt", about: "the broker is near", needs: []part{partBroker}, run: checkRoundTrip},
	{id: "bus.version", about: "the broker has all that is used", needs: []part{partBroker}, run: checkVersion},
	{id: "bus.acl", about: "the user may ask the broker and the servers", needs: []part{partBroker},
		asks: []part{partServers, partChannels, partConnections}, run: checkACL},
	{id: "bus.output_buffer", about: "no subscriber is near the limit of what may wait for it", kinds: []string{kindRedis},
		needs: []part{partBroker, partConnections}, run: checkOutputBuffer},
	{id: "bus.max_payload", about: "messages fit", needs: []part{partBroker, partServers}, run: checkMaxPayload},
	{id: "bus.slow_consumers", about: "subscribers read in time", kinds: []string{kindNATS},
		needs: []part{partBroker, partConnections}, twice: true, run: checkSlowConsumers},
	{id: "bus.eviction", about: "Redis keeps the locks of queues", kinds: []string{kindRedis}, needs: []part{partBroker}, run: checkEviction},
	{id: "bus.cluster_slots", about: "all slots of the cluster have a master", kinds: []string{kindRedis},
		needs: []part{partBroker}, run: checkClusterSlots},
	{id: "fleet.servers", about: "servers answer", needs: []part{partServers}, run: checkServers},
	{id: "fleet.silent", about: "all servers that get a question answer it", needs: []part{partServers},
		asks: []part{partChannels, partConnections}, cannot: cannotTellSilent, run: checkSilent},
	{id: "fleet.clock", about: "clocks agree", needs: []part{partServers}, run: checkClock},
	{id: "fleet.versions", about: "a service has one version", needs: []part{partServers},
		asks: []part{partDescriptors}, run: checkVersions},
	{id: "fleet.options", about: "peers agree on who gets and claims requests", needs: []part{partServers}, run: checkOptions},
	{id: "fleet.names", about: "a name on the bus means one service", needs: []part{partServers}, run: checkNames},
	{id: "fleet.queue_sets", about: "servers of a queue serve the same methods", needs: []part{partServers}, run: checkQueueSets},
	{id: "fleet.redis_db", about: "locks are in one database", kinds: []string{kindRedis}, needs: []part{partServers}, run: checkRedisDB},
	{id: "fleet.modes", about: "all peers use the broker in the same way", needs: []part{partServers},
		asks: []part{partChannels, partVariants}, run: checkModes},
	{id: "fleet.draining", about: "no server drains for long", needs: []part{partServers}, run: checkDraining},
	{id: "fleet.overload", about: "no method is at its limit", needs: []part{partServers}, run: checkOverload},
	{id: "fleet.errors", about: "calls succeed", needs: []part{partServers}, twice: true, run: checkErrors},
	{id: "fleet.lost", about: "no frames are lost", needs: []part{partServers}, twice: true, run: checkLost},
	{id: "fleet.orphans", about: "services with clients have servers", needs: []part{partChannels}, run: checkOrphans},
	{id: "fleet.topics", about: "single servers are single", needs: []part{partServers},
		asks: []part{partTopics}, run: checkTopics},
}

// IDs returns the IDs of all checks and what they look for, in order.
func IDs() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, c := range checks {
			if !yield(c.id, c.about) {
				return
			}
		}
	}
}

// AppliesTo reports whether a check applies to a kind of bus, such as "redis".
func AppliesTo(id, kind string) bool {
	i := slices.IndexFunc(checks, func(c check) bool { return c.id == id })
	return i >= 0 && (len(checks[i].kinds) == 0 || slices.Contains(checks[i].kinds, kind))
}

// Examine asks the broker and the servers, runs the checks, and reports what is wrong with the
// fleet. If a check compares two answers, Examine asks again after options.Window. It returns an
// error if ctx ends. If options name a check that does not exist, the error has the code
// [errors.InvalidArgument].
func Examine(ctx context.Context, target Target, options Options) (Report, error) {
	selected, err := selectChecks(options.Only)
	if err != nil {
		return Report{}, err
	}
	wanted := make(map[part]bool)
	for _, c := range selected {
		for _, p := range slices.Concat(c.needs, c.asks) {
			wanted[p] = true
		}
	}
	if !slices.ContainsFunc(selected, func(c check) bool { return c.twice }) {
		options.Window = 0
	}
	f, err := gather(ctx, target, options, wanted)
	if err != nil {
		return Report{}, err
	}
	report := Report{Findings: []Finding{}, Passed: []string{}, Unreachable: f.unknown[partBroker] != nil}
	for _, c := range selected {
		if len(c.kinds) > 0 && !slices.Contains(c.kinds, f.busKind()) {
			continue
		}
		reason := f.missing(c.needs)
		if reason == "" && c.twice && !f.askedTwice {
			reason = "the broker and the servers were asked only once"
		}
		if reason == "" && c.cannot != nil {
			reason = c.cannot(f)
		}
		if reason != "" {
			report.Skipped = append(report.Skipped, Skip{Check: c.id, Reason: reason})
			continue
		}
		findings := c.run(f)
		for i := range findings {
			findings[i].Check = c.id
		}
		report.Findings = append(report.Findings, findings...)
		if !slices.ContainsFunc(findings, func(finding Finding) bool { return finding.Severity != OK }) {
			report.Passed = append(report.Passed, c.id)
		}
	}
	return report, nil
}

// selectChecks returns the checks with the given IDs. The first part of an ID, such as "bus",
// selects all checks that have it. Without IDs, it returns all checks.
func selectChecks(only []string) ([]check, error) {
	if len(only) == 0 {
		return checks, nil
	}
	var selected []check
	for _, name := range only {
		matched := false
		for _, c := range checks {
			matched = matched || c.id == name || strings.HasPrefix(c.id, name+".")
		}
		if !matched {
			return nil, errors.NewErrorf(errors.InvalidArgument, "there is no check %s%s", name, suggestion(name))
		}
	}
	for _, c := range checks {
		if slices.ContainsFunc(only, func(name string) bool { return c.id == name || strings.HasPrefix(c.id, name+".") }) {
			selected = append(selected, c)
		}
	}
	return selected, nil
}

// suggestion names the check whose ID is most similar to name.
func suggestion(name string) string {
	ids := make([]string, len(checks))
	for i, c := range checks {
		ids[i] = c.id
	}
	return similar.Hint(name, ids)
}
