package summary

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Load describes how much the methods of a service, a single method, or the methods of a server
// were used during a period of time.
type Load struct {
	// Name is the name of the service, method or server that was used.
	Name string
	// Servers is the number of servers whose counters are included.
	Servers int
	// Calls is the number of requests that were started during that time. OK and Failed are how
	// many have succeeded and failed. Active is how many were running at the end of that time.
	Calls, OK, Failed, Active uint64
	// Declined is the number of requests that were not claimed.
	Declined uint64
	// Updates is the number of updates that were published.
	Updates uint64
	// PerSecond is how many requests all servers together have started per second.
	PerSecond float64
	// Codes holds the number of failures by code.
	Codes map[errors.ErrorCode]uint64
	// Duration is a histogram of how long the requests took.
	Duration fleet.Histogram
	// LastCall is when the last request was started, by the clock of its server. It is zero if there
	// was none.
	LastCall time.Time
}

// Ended returns the number of requests that have succeeded or failed.
func (l *Load) Ended() uint64 { return l.OK + l.Failed }

// FailedRatio returns the fraction of the ended requests that have failed, or 0 if none has ended.
func (l *Load) FailedRatio() float64 {
	if l.Ended() == 0 {
		return 0
	}
	return float64(l.Failed) / float64(l.Ended())
}

// add adds the calls that a server has counted between two answers. elapsed is the time between
// them. before is nil if the counters started from zero at the beginning of that time.
func (l *Load) add(now, before *fleet.Stats, elapsed time.Duration) {
	if before == nil {
		before = new(fleet.Stats)
	}
	calls := difference(now.CallsStarted, before.CallsStarted)
	l.Calls += calls
	l.OK += difference(now.CallsOK, before.CallsOK)
	l.Declined += difference(now.Declined, before.Declined)
	l.Updates += difference(now.UpdatesPublished, before.UpdatesPublished)
	l.Active += now.Active
	if seconds := elapsed.Seconds(); seconds > 0 {
		l.PerSecond += float64(calls) / seconds
	}
	for code, n := range now.Errors {
		if failed := difference(n, before.Errors[code]); failed > 0 {
			if l.Codes == nil {
				l.Codes = make(map[errors.ErrorCode]uint64)
			}
			l.Codes[code] += failed
			l.Failed += failed
		}
	}
	l.Duration.Merge(now.Duration.Sub(before.Duration))
	if now.LastCall.After(l.LastCall) {
		l.LastCall = now.LastCall
	}
}

// difference returns how much a counter has grown. If it has shrunk, it has started again from
// zero, so difference returns its current value.
func difference(now, before uint64) uint64 {
	if now < before {
		return now
	}
	return now - before
}

// By determines whether a line of a table describes a service, a method or a server.
type By string

// These are the possible groupings of a table.
const (
	ByService By = "service"
	ByMethod  By = "method"
	ByServer  By = "server"
)

// Loads returns the load of each service, method or server, sorted by name.
//
// Loads counts what happened between the answers in before and those in now. For a server without a
// usable answer in before, it counts from the start of the server. before may be nil. Methods for
// which keep returns false are left out; keep may be nil. The clocks of the servers need not agree,
// because the time between two answers of a server is measured by its own clock.
func Loads(before, now []*fleet.Server, by By, keep func(service *fleet.Service, method *fleet.Method) bool) []Load {
	earlier := make(map[string]*fleet.Server, len(before))
	for _, server := range before {
		earlier[server.ID] = server
	}
	found := make(map[string]*Load)
	for _, server := range now {
		previous := sameRun(earlier[server.ID], server)
		elapsed := server.Now.Sub(server.Started)
		if previous != nil {
			elapsed = server.Now.Sub(previous.Now)
		}
		counted := make(map[*Load]bool)
		for s := range server.Services {
			service := &server.Services[s]
			for m := range service.Methods {
				method := &service.Methods[m]
				if method.Stats == nil || keep != nil && !keep(service, method) {
					continue
				}
				name := nameOf(server, service, method, by)
				load := found[name]
				if load == nil {
					load = &Load{Name: name}
					found[name] = load
				}
				if !counted[load] {
					counted[load] = true
					load.Servers++
				}
				load.add(method.Stats, statsOf(previous, service.Name, method.Name), elapsed)
			}
		}
	}
	loads := make([]Load, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		loads = append(loads, *found[name])
	}
	return loads
}

// sameRun returns earlier, the previous answer of a server. It returns nil if there is none, if the
// server was restarted since, or if the answer is not older than now.
func sameRun(earlier, now *fleet.Server) *fleet.Server {
	if earlier == nil || !earlier.Started.Equal(now.Started) || !now.Now.After(earlier.Now) {
		return nil
	}
	return earlier
}

func nameOf(server *fleet.Server, service *fleet.Service, method *fleet.Method, by By) string {
	switch by {
	case ByServer:
		return server.ID
	case ByMethod:
		return service.Name + "/" + method.Name
	default:
		return service.Name
	}
}

func statsOf(server *fleet.Server, service, method string) *fleet.Stats {
	if server == nil {
		return nil
	}
	for s := range server.Services {
		if server.Services[s].Name != service {
			continue
		}
		for m := range server.Services[s].Methods {
			if server.Services[s].Methods[m].Name == method {
				return server.Services[s].Methods[m].Stats
			}
		}
	}
	return nil
}

// Key determines the order of the lines in a table.
type Key string

// A table is sorted by name or, with the highest value first, by rate, 99th percentile, number of
// errors or number of running requests.
const (
	SortName   Key = "name"
	SortRate   Key = "rate"
	SortP99    Key = "p99"
	SortErrors Key = "errors"
	SortActive Key = "active"
)

// SortLoads sorts the lines of a table. Lines with equal values are sorted by name, so that they
// keep their places when the table is shown again.
func SortLoads(loads []Load, key Key) {
	slices.SortFunc(loads, func(a, b Load) int {
		order := 0
		switch key {
		case SortRate:
			order = cmp.Compare(b.PerSecond, a.PerSecond)
		case SortP99:
			order = cmp.Compare(b.Duration.Quantile(0.99), a.Duration.Quantile(0.99))
		case SortErrors:
			order = cmp.Compare(b.Failed, a.Failed)
		case SortActive:
			order = cmp.Compare(b.Active, a.Active)
		case SortName:
		}
		return cmp.Or(order, strings.Compare(a.Name, b.Name))
	})
}
