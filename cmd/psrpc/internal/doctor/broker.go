package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Limits above which the checks of the broker report something.
const (
	// roundTripWarning is the round-trip time to the broker above which calls are slow, because
	// each call sends two to four messages through the broker.
	roundTripWarning = 25 * time.Millisecond
	// memoryShare is the used share of Redis's maxmemory above which the check warns.
	memoryShare = 0.9
	// backlogShare is the share of the output buffer limit above which the backlog of one
	// subscriber is reported.
	backlogShare = 0.5
	// natsBacklog is the number of bytes waiting for one subscriber above which the check warns. A
	// NATS server closes a connection at 64 MiB unless configured otherwise.
	natsBacklog = 16 << 20
	// usualMaxPayload is the default of NATS's max_payload.
	usualMaxPayload = 1 << 20
	// messageShare is the share of the largest possible frame above which the mean message size of
	// a method is reported.
	messageShare = 0.5
)

// oldestVersions contains the oldest version of each broker that has all the features that dynpsrpc
// uses. The key is the name of the broker's software.
var oldestVersions = map[string]struct{ version, lacks string }{
	kindRedis: {"7.0", "rules that tell publishing from subscribing, and sharded pub/sub"},
	kindNATS:  {"2.9", "fixes of the server"},
}

// checkReach reports which broker the bus uses, or that the broker is out of reach.
func checkReach(f *facts) []Finding {
	if err := f.unknown[partBroker]; err != nil {
		return []Finding{{
			Severity: Error, Seen: "the broker does not answer: " + err.Error(),
			Do: "check that it runs, and the address of the bus",
		}}
	}
	seen := cmp.Or(f.info.Software, f.info.Kind)
	if f.info.Version != "" {
		seen += " " + f.info.Version
	}
	if f.info.Address != "" {
		seen += " at " + f.info.Address
	}
	if f.info.RoundTrip > 0 {
		seen += ", " + rounded(f.info.RoundTrip)
	}
	return []Finding{{Severity: OK, Seen: seen}}
}

// checkRoundTrip finds a broker that is slow or far away.
func checkRoundTrip(f *facts) []Finding {
	if f.info.RoundTrip <= roundTripWarning {
		return nil
	}
	return []Finding{{
		Severity: Warning,
		Seen:     fmt.Sprintf("the broker takes %s to answer, and a call takes two to four such times", rounded(f.info.RoundTrip)),
		Do:       "run this nearer to the broker, or look at the broker's load",
	}}
}

// checkVersion finds a broker that is too old to have all the features that dynpsrpc uses.
func checkVersion(f *facts) []Finding {
	oldest, ok := oldestVersions[f.info.Software]
	if !ok || f.info.Version == "" || !olderThan(f.info.Version, oldest.version) {
		return nil
	}
	return []Finding{{
		Severity: Warning,
		Seen:     fmt.Sprintf("%s %s lacks %s", f.info.Software, f.info.Version, oldest.lacks),
		Do:       fmt.Sprintf("use %s %s or later", f.info.Software, oldest.version),
	}}
}

// olderThan reports whether version is older than other. It compares the numbers between the dots.
func olderThan(version, other string) bool {
	a, b := strings.Split(version, "."), strings.Split(other, ".")
	for i := range min(len(a), len(b)) {
		x, _ := strconv.Atoi(a[i])
		y, _ := strconv.Atoi(b[i])
		if x != y {
			return x < y
		}
	}
	return false
}

// checkACL finds operations that the broker does not permit for the user of this program.
func checkACL(f *facts) (found []Finding) {
	for _, need := range []struct {
		part     part
		severity Severity
		seen, do string
	}{
		{partServers, Error, "this user may not ask the servers", "see the user viewer in docs/brokers.md, Fleets"},
		{partChannels, Warning, "this user may not list channels, so that psrpc's servers and clients are not seen",
			"permit PUBSUB CHANNELS and NUMSUB on Redis, or name the monitoring port of NATS; see docs/brokers.md, Fleets"},
		{partConnections, Warning, "this user may not list connections, so that slow ones are not seen",
			"permit CLIENT LIST on Redis; see docs/brokers.md, Fleets"},
	} {
		if err := f.unknown[need.part]; errors.Is(err, errors.PermissionDenied) {
			found = append(found, Finding{Severity: need.severity, Seen: need.seen + ": " + err.Error(), Do: need.do})
		}
	}
	if f.busKind() == kindRedis && len(f.info.Withheld) > 0 {
		found = append(found, Finding{
			Severity: Warning,
			Seen:     "the broker keeps something to itself, so that checks of it find nothing: " + joined(f.info.Withheld, len(f.info.Withheld)),
			Do:       "permit INFO and CONFIG GET on Redis; see docs/brokers.md, Fleets",
		})
	}
	return found
}

// checkOutputBuffer finds an output buffer limit of Redis that is smaller than the largest frame.
// It also finds subscribers whose backlog comes near the limit.
func checkOutputBuffer(f *facts) (found []Finding) {
	limit := f.info.OutputBuffer
	if limit.Hard == 0 {
		return nil
	}
	if limit.Hard < f.info.MaxFrameSize {
		found = append(found, Finding{
			Severity: Warning,
			Seen: fmt.Sprintf("a frame of more than %s disconnects every subscriber that gets it, and frames may have %s",
				size(limit.Hard), size(f.info.MaxFrameSize)),
			Do: "raise client-output-buffer-limit pubsub, or lower max_frame_size in the URL of the bus",
		})
	}
	for _, peer := range f.slowest(func(p bus.Peer) bool {
		return float64(p.PendingBytes) >= backlogShare*float64(limit.Hard) || limit.Soft > 0 && p.PendingBytes >= limit.Soft
	}) {
		found = append(found, Finding{
			Severity: Warning,
			Seen: fmt.Sprintf("%s reads too slowly: %s wait for it, and Redis disconnects it at %s%s",
				peerName(peer), size(peer.PendingBytes), size(limit.Hard), softLimit(limit)),
			Do: "look at what that process does",
		})
	}
	return found
}

// softLimit describes the soft limit of an output buffer.
func softLimit(limit bus.OutputBuffer) string {
	if limit.Soft == 0 {
		return ""
	}
	return fmt.Sprintf(", or after %s above %s", rounded(limit.SoftTime), size(limit.Soft))
}

// slowest returns the connections for which isSlow is true, at most maxListed of them. Those with
// the most waiting bytes come first.
func (f *facts) slowest(isSlow func(bus.Peer) bool) []bus.Peer {
	slow := slices.DeleteFunc(slices.Clone(f.connections), func(p bus.Peer) bool { return !isSlow(p) })
	slices.SortFunc(slow, func(a, b bus.Peer) int { return cmp.Compare(b.PendingBytes, a.PendingBytes) })
	return slow[:min(len(slow), maxListed)]
}

func peerName(p bus.Peer) string {
	if p.Name != "" {
		return p.Address + " (" + p.Name + ")"
	}
	return p.Address
}

// size returns a number of bytes for people.
func size(bytes int64) string {
	switch {
	case bytes >= 1<<20 && bytes%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", bytes>>20)
	case bytes >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	case bytes >= 1<<10:
		return fmt.Sprintf("%d KiB", bytes>>10)
	default:
		return fmt.Sprintf("%d B", bytes)
	}
}

// checkMaxPayload finds an unusually low limit on the size of frames, and methods whose messages
// come near the limit.
func checkMaxPayload(f *facts) (found []Finding) {
	limit := f.info.MaxFrameSize
	if limit == 0 {
		return nil
	}
	if f.busKind() == kindNATS && limit < usualMaxPayload {
		found = append(found, Finding{
			Severity: Warning,
			Seen:     fmt.Sprintf("messages of more than %s fail with resource_exhausted; usual is %s", size(limit), size(usualMaxPayload)),
			Do:       "raise max_payload of the NATS server, if larger messages are wanted",
		})
	}
	for m := range countedMethodsOf(f.servers) {
		stats := m.method.Stats
		if stats.CallsStarted == 0 {
			continue
		}
		mean := float64(max(stats.RequestBytes, stats.ResponseBytes)) / float64(stats.CallsStarted)
		if mean < messageShare*float64(limit) {
			continue
		}
		found = append(found, Finding{
			Severity: Warning,
			Seen: fmt.Sprintf("messages of %s on %s have %s on average, and at most %s pass",
				m.name(), m.server.ID, size(int64(mean)), size(limit)),
			Do:      "raise the limit, use dynamic.WithCompression, or send less at a time",
			Servers: []string{m.server.ID},
		})
	}
	return found
}

// checkSlowConsumers finds subscribers that read so slowly that a NATS server has to keep many
// bytes for them. It also finds out whether the server has disconnected subscribers during
// [Options].Window.
func checkSlowConsumers(f *facts) (found []Finding) {
	if grown := f.laterInfo.SlowConsumers - f.info.SlowConsumers; grown > 0 {
		found = append(found, Finding{
			Severity: Error,
			Seen: fmt.Sprintf("NATS has disconnected %s within %s because they read too slowly: they have lost frames",
				count(int(grown), "connection"), rounded(f.window)),
			Do: "look at the events of the buses in the servers' logs, and at write_deadline and max_pending of the NATS server",
		})
	}
	for _, peer := range f.slowest(func(p bus.Peer) bool { return p.PendingBytes >= natsBacklog }) {
		found = append(found, Finding{
			Severity: Warning,
			Seen:     fmt.Sprintf("%s reads too slowly: %s wait for it", peerName(peer), size(peer.PendingBytes)),
			Do:       "look at what that process does",
		})
	}
	return found
}

// checkEviction finds out whether Redis may lose the locks of queues, because it evicts them or has
// no room for new ones.
func checkEviction(f *facts) []Finding {
	used := float64(f.info.UsedMemory) >= memoryShare*float64(f.info.MaxMemory) && f.info.MaxMemory > 0
	switch policy := f.info.EvictionPolicy; {
	case policy == "volatile-ttl":
		severity, when := Warning, "would evict locks of queues first if there were a maxmemory"
		if f.info.MaxMemory > 0 {
			severity, when = Error, "evicts locks of queues first, so that requests run twice"
		}
		return []Finding{{
			Severity: severity,
			Seen:     "maxmemory-policy volatile-ttl " + when,
			Do:       "use noeviction or volatile-lru",
		}}
	case policy == "noeviction" && used:
		return []Finding{{
			Severity: Warning,
			Seen: fmt.Sprintf("%s of %s are used: when all are, Redis refuses the locks of queues, and queue calls are lost",
				size(f.info.UsedMemory), size(f.info.MaxMemory)),
			Do: "raise maxmemory, or remove what else is stored there",
		}}
	}
	return nil
}

// checkClusterSlots reports slots of a Redis Cluster that have no master.
func checkClusterSlots(f *facts) []Finding {
	if f.info.UncoveredSlots == 0 {
		return nil
	}
	return []Finding{{
		Severity: Error,
		Seen:     fmt.Sprintf("%d of 16384 slots of the cluster have no master: queue calls whose lock is there are lost", f.info.UncoveredSlots),
		Do:       "start the missing masters, or let a replica take over: redis-cli --cluster check",
	}}
}
