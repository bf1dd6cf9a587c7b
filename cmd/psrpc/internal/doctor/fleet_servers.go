package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Limits above which the checks report something.
const (
	clockWarning  = 250 * time.Millisecond
	clockError    = time.Second
	drainingLimit = 10 * time.Minute
	// overloadShare is the share of a method's limit of concurrent requests above which the method
	// is reported.
	overloadShare = 0.9
	errorShare    = 0.01
	// minCalls is how many calls a method needs before its share of errors is checked. With fewer
	// calls, the share means little.
	minCalls = 10
)

// checkClock finds servers whose clock differs from the clock of this machine.
func checkClock(f *facts) (found []Finding) {
	for _, server := range f.servers {
		// The server read its clock at an unknown time during the round trip, so the offset may be
		// off by up to half the round trip.
		offset := max(server.ClockOffset.Abs()-server.RoundTrip/2, 0)
		if offset <= clockWarning {
			continue
		}
		severity, direction := Warning, "ahead"
		if offset > clockError {
			severity = Error
		}
		if server.ClockOffset < 0 {
			direction = "behind"
		}
		found = append(found, Finding{
			Severity: severity,
			Seen: fmt.Sprintf("%s is %s %s: deadlines between it and psrpc peers end too early or too late",
				server.ID, rounded(server.ClockOffset.Abs()), direction),
			Do:      "synchronize the clock of its machine; if all servers are off, that of this machine",
			Servers: []string{server.ID},
		})
	}
	return found
}

// rounded returns a duration with about two significant digits, such as "0.8 ms" or "3.0 s".
func rounded(d time.Duration) string {
	switch {
	case d < 100*time.Microsecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}

// checkDraining finds servers that have been draining for a long time.
func checkDraining(f *facts) (found []Finding) {
	for _, server := range f.servers {
		since := server.Now.Sub(server.StateSince)
		if server.State != fleet.StateDraining || server.StateSince.IsZero() || since <= drainingLimit {
			continue
		}
		var active uint64
		for m := range countedMethodsOf([]*fleet.Server{server}) {
			active += m.method.Stats.Active
		}
		found = append(found, Finding{
			Severity: Warning,
			Seen:     fmt.Sprintf("%s has been draining for %s, with %d running requests", server.ID, since.Round(time.Minute), active),
			Do:       "find out which handler does not end, or stop the process; psrpc resume " + server.ID + " takes it back",
			Servers:  []string{server.ID},
		})
	}
	return found
}

// checkOverload finds methods whose number of running requests is near its limit.
func checkOverload(f *facts) (found []Finding) {
	for m := range countedMethodsOf(f.later) {
		limit, active := m.method.MaxConcurrent, m.method.Stats.Active
		if limit == 0 || float64(active) < overloadShare*float64(limit) {
			continue
		}
		found = append(found, Finding{
			Severity: Warning,
			Seen: fmt.Sprintf("%s runs %d of at most %d requests on %s: further ones are refused",
				m.name(), active, limit, m.server.ID),
			Do:      "add servers, or raise the limit if the machine has time left",
			Servers: []string{m.server.ID},
		})
	}
	return found
}

// earlierServers returns the first answers of the servers that have answered twice. It leaves out
// servers that were restarted in between, because their counters have begun at 0 again.
func (f *facts) earlierServers() []*fleet.Server {
	started := make(map[string]time.Time)
	for _, server := range f.later {
		started[server.ID] = server.Started
	}
	return slices.DeleteFunc(slices.Clone(f.servers), func(server *fleet.Server) bool {
		again, ok := started[server.ID]
		return !ok || !again.Equal(server.Started)
	})
}

// earlierStats returns the counters from the first answers of the servers.
func (f *facts) earlierStats() map[methodKey]*fleet.Stats {
	stats := make(map[methodKey]*fleet.Stats)
	for m := range countedMethodsOf(f.earlierServers()) {
		stats[m.key()] = m.method.Stats
	}
	return stats
}

// serverFaults are the error codes for which the server is to blame, as in the conventions of
// OpenTelemetry. Other codes, such as not_found, are normal answers.
var serverFaults = []errors.ErrorCode{
	errors.Unknown, errors.DeadlineExceeded, errors.Unimplemented, errors.Internal, errors.Unavailable, errors.DataLoss,
	errors.MalformedResponse, errors.ResourceExhausted,
}

// errorCounts contains how many calls and errors of a method all servers together have counted.
type errorCounts struct {
	calls, failed uint64
	codes         map[errors.ErrorCode]uint64
	servers       []string
}

// add adds the calls that one server has counted between its two answers.
func (c *errorCounts) add(server string, before, now *fleet.Stats) {
	c.calls += now.CallsOK - before.CallsOK
	var failed uint64
	for code, n := range now.Errors {
		n -= before.Errors[code]
		c.calls += n
		if slices.Contains(serverFaults, code) && n > 0 {
			failed += n
			c.codes[code] += n
		}
	}
	if failed > 0 {
		c.failed += failed
		c.servers = append(c.servers, server)
	}
}

// codeNames returns the codes of the errors, the most frequent first.
func (c *errorCounts) codeNames() []string {
	codes := slices.SortedFunc(maps.Keys(c.codes), func(a, b errors.ErrorCode) int {
		return cmp.Or(cmp.Compare(c.codes[b], c.codes[a]), cmp.Compare(a, b))
	})
	names := make([]string, len(codes))
	for i, code := range codes {
		names[i] = string(code)
	}
	return names
}

// checkErrors finds methods with too large a share of failed calls. It adds up the counters of all
// servers.
func checkErrors(f *facts) (found []Finding) {
	methods := make(map[string]*errorCounts)
	earlier := f.earlierStats()
	for m := range countedMethodsOf(f.later) {
		before := earlier[m.key()]
		if before == nil {
			continue // the server has started since the first answers
		}
		if methods[m.name()] == nil {
			methods[m.name()] = &errorCounts{codes: make(map[errors.ErrorCode]uint64)}
		}
		methods[m.name()].add(m.server.ID, before, m.method.Stats)
	}
	for _, name := range slices.Sorted(maps.Keys(methods)) {
		c := methods[name]
		if c.calls < minCalls || float64(c.failed) <= errorShare*float64(c.calls) {
			continue
		}
		codes := c.codeNames()
		found = append(found, Finding{
			Severity: Warning,
			Seen: fmt.Sprintf("%s failed in %.1f %% of %d calls within %s: %s",
				name, 100*float64(c.failed)/float64(c.calls), c.calls, rounded(f.window), joined(codes, len(codes))),
			Do:      "psrpc stats tells which servers; psrpc tap shows the calls; the servers' logs tell why",
			Servers: c.servers,
		})
	}
	return found
}

// checkLost finds servers that have lost frames, received requests too late or been disconnected
// between their two answers.
func checkLost(f *facts) (found []Finding) {
	before := make(map[string]*fleet.Server)
	for _, server := range f.earlierServers() {
		before[server.ID] = server
	}
	earlier := f.earlierStats()
	for _, server := range f.later {
		first := before[server.ID]
		if first == nil {
			continue // the server has started since the first answers
		}
		var grown []string
		add := func(now, then uint64, what string) {
			if now > then {
				grown = append(grown, fmt.Sprintf("%d %s", now-then, what))
			}
		}
		if server.Bus != nil && first.Bus != nil {
			add(server.Bus.Dropped, first.Bus.Dropped, "frames lost on their way to it")
			add(server.Bus.PublishErrors, first.Bus.PublishErrors, "frames that the broker did not take")
			add(server.Bus.Disconnects, first.Bus.Disconnects, "disconnects from the broker")
		}
		var expired, expiredBefore uint64
		for m := range countedMethodsOf([]*fleet.Server{server}) {
			if stats := earlier[m.key()]; stats != nil {
				expired += m.method.Stats.Expired
				expiredBefore += stats.Expired
			}
		}
		add(expired, expiredBefore, "requests that came too late")
		if len(grown) == 0 {
			continue
		}
		found = append(found, Finding{
			Severity: Warning,
			Seen:     fmt.Sprintf("%s, within %s: %s", server.ID, rounded(f.window), strings.Join(grown, ", ")),
			Do:       "look at the events of its bus in its log: they name the reasons; docs/brokers.md has the settings",
			Servers:  []string{server.ID},
		})
	}
	return found
}

// byBusValue calls value for the bus of each server, and groups the IDs of the servers by the
// results.
func byBusValue(servers []*fleet.Server, value func(*fleet.Bus) string) map[string][]string {
	groups := make(map[string][]string)
	for _, server := range servers {
		if server.Bus != nil {
			v := value(server.Bus)
			groups[v] = append(groups[v], server.ID)
		}
	}
	return groups
}

// described lists groups of servers, each with the number of its servers and one of their IDs.
func described(groups map[string][]string) string {
	var texts []string
	for _, value := range slices.Sorted(maps.Keys(groups)) {
		texts = append(texts, fmt.Sprintf("%s: %s, such as %s", value, count(len(groups[value]), "server"), slices.Min(groups[value])))
	}
	return strings.Join(texts, "; ")
}

// smallerGroups returns the servers of all groups but the largest.
func smallerGroups(groups map[string][]string) (servers []string) {
	values := slices.SortedFunc(maps.Keys(groups), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(groups[b]), len(groups[a])), cmp.Compare(a, b))
	})
	for _, value := range values[1:] {
		servers = append(servers, groups[value]...)
	}
	slices.Sort(servers)
	return servers
}

// sharingQueues returns the servers of the services whose queued methods are served from several
// Redis databases.
func (f *facts) sharingQueues() []*fleet.Server {
	databases := make(map[string]map[int32]bool) // by the name of the service on the bus
	for m := range methodsOf(f.servers) {
		if m.server.Bus == nil || m.method.Routing != registry.RoutingQueue {
			continue
		}
		if databases[m.service.WireName] == nil {
			databases[m.service.WireName] = make(map[int32]bool)
		}
		databases[m.service.WireName][m.server.Bus.RedisDB] = true
	}
	return slices.DeleteFunc(slices.Clone(f.servers), func(server *fleet.Server) bool {
		return !slices.ContainsFunc(server.Services, func(s fleet.Service) bool { return len(databases[s.WireName]) > 1 })
	})
}

// checkRedisDB finds servers of a queue that use different databases of Redis. Channels are shared by
// all databases, but locks are not, so one request runs once in each database.
func checkRedisDB(f *facts) []Finding {
	groups := byBusValue(f.sharingQueues(), func(b *fleet.Bus) string { return "database " + strconv.Itoa(int(b.RedisDB)) })
	if len(groups) < 2 {
		return nil
	}
	return []Finding{{
		Severity: Error,
		Seen:     "locks of queues are in several databases, so that each of them runs every request once: " + described(groups),
		Do:       "give all peers the same database number in the URL of the bus",
		Servers:  smallerGroups(groups),
	}}
}

// checkModes finds servers that use the same broker with other settings. They and the servers of
// this fleet do not receive each other's messages.
func checkModes(f *facts) (found []Finding) {
	for _, variant := range f.variants {
		if len(variant.servers) == 0 {
			continue
		}
		ids := idsOf(variant.servers)
		finding := Finding{
			Severity: Error,
			Seen: fmt.Sprintf("%s, such as %s, use this broker with %s: they and the %s here do not hear each other",
				count(len(ids), "server"), ids[0], variant.name, count(len(f.servers), "server")),
			Do:      "give all peers the same settings in the URL of the bus",
			Servers: ids,
		}
		// Several fleets may share a broker if each has a prefix of its own.
		if variant.isPrefix {
			finding.Severity, finding.Do = OK, ""
			if len(f.servers) == 0 {
				finding.Severity, finding.Do = Warning, "use "+variant.name+" if you look for these servers"
			}
		}
		found = append(found, finding)
	}
	return found
}

// idsOf returns the sorted IDs of servers.
func idsOf(servers []*fleet.Server) []string {
	ids := make([]string, len(servers))
	for i, server := range servers {
		ids[i] = server.ID
	}
	slices.Sort(ids)
	return ids
}

// checkQueueSets finds servers that share a queue but do not handle the same methods.
func checkQueueSets(f *facts) (found []Finding) {
	found = f.missingHandlers()
	if f.busKind() == kindNATS && !f.hasMode("subject_per_method") {
		found = append(found, f.differentMethods()...)
	}
	return found
}

// isQueued reports whether each call of a method goes to one server, which the bus chooses.
func isQueued(method fleet.Method) bool {
	return method.Kind == registry.KindSingle && method.Routing == registry.RoutingQueue
}

// missingHandlers finds servers without a handler for a queued method that other servers handle. A
// call fails if the queue gives it to such a server.
func (f *facts) missingHandlers() (found []Finding) {
	missing := make(map[string][]string) // IDs of the servers without a handler, by method
	handled := make(map[string]bool)
	for m := range methodsOf(f.servers) {
		switch {
		case !isQueued(m.method) || m.server.State == fleet.StateDraining:
		case m.method.Unimplemented:
			missing[m.name()] = append(missing[m.name()], m.server.ID)
		default:
			handled[m.name()] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		if !handled[name] {
			continue // no server handles it, so all calls fail alike
		}
		found = append(found, Finding{
			Severity: Error,
			Seen: fmt.Sprintf("%s has no handler on %s, although others of its queue have one: some calls fail as unimplemented",
				name, joined(missing[name], len(missing[name]))),
			Do:      "give all servers of a queue the same handlers",
			Servers: missing[name],
		})
	}
	return found
}

// differentMethods finds servers of a NATS queue that serve different methods. All queued methods
// of a service share one queue, so NATS may give a frame to a server that does not know its method.
// Methods with topics are left out, because each topic has its own queue.
func (f *facts) differentMethods() (found []Finding) {
	queues := make(map[string]map[string][]string) // methods, by service and server
	for m := range methodsOf(f.servers) {
		if !isQueued(m.method) || len(m.method.TopicParams) > 0 || m.method.TopicCount > 0 || m.server.State == fleet.StateDraining {
			continue
		}
		if queues[m.service.WireName] == nil {
			queues[m.service.WireName] = make(map[string][]string)
		}
		queues[m.service.WireName][m.server.ID] = append(queues[m.service.WireName][m.server.ID], m.method.Name)
	}
	for _, wireName := range slices.Sorted(maps.Keys(queues)) {
		groups := make(map[string][]string) // servers, by their list of methods
		for server, methods := range queues[wireName] {
			slices.Sort(methods)
			list := strings.Join(methods, ", ")
			groups[list] = append(groups[list], server)
		}
		if len(groups) < 2 {
			continue
		}
		found = append(found, Finding{
			Severity: Warning,
			Seen: fmt.Sprintf("servers of the queue of %s serve different methods, and NATS gives each of them frames of all: %s",
				wireName, described(groups)),
			Do: "serve the same methods on all servers, or use subject_per_method on all peers; psrpc servers drop frames of other methods," +
				" and dynpsrpc servers forward them",
			Servers: smallerGroups(groups),
		})
	}
	return found
}
