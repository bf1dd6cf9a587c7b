package explorer

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
)

// traffic describes the calls of one or several methods between two polls. In the zero value,
// nothing is known.
type traffic struct {
	// active is the number of calls that are running now.
	active uint64
	// known reports whether the rates and durations are known, which needs two polls.
	known bool
	// perSecond and failedPerSecond are the numbers of calls that end, and that fail, per second.
	perSecond, failedPerSecond float64
	durations                  fleet.Histogram
	// isOwn reports whether the counts of durations are a copy, which add may change.
	isOwn bool
}

// windowOf returns the time between two answers of a server, by the server's clock. It returns 0 if
// there was no earlier answer, or if the server has restarted since.
func windowOf(server, before *fleet.Server) time.Duration {
	if before == nil || !before.Started.Equal(server.Started) {
		return 0
	}
	return max(server.Now.Sub(before.Now), 0)
}

// statsBefore returns the counters of a method in the server's previous answer, or nil.
func statsBefore(before *fleet.Server, service *fleet.Service, method *fleet.Method) *fleet.Stats {
	if before == nil {
		return nil
	}
	for i := range before.Services {
		if before.Services[i].WireName != service.WireName {
			continue
		}
		for j := range before.Services[i].Methods {
			if candidate := &before.Services[i].Methods[j]; candidate.WireName == method.WireName {
				return candidate.Stats
			}
		}
	}
	return nil
}

// trafficOf computes the traffic from the current and the previous counters of a method. If the
// method is new, before is nil, which stands for counters of 0.
func trafficOf(now, before *fleet.Stats, window time.Duration) traffic {
	if now == nil {
		return traffic{}
	}
	t := traffic{active: now.Active}
	if window <= 0 {
		return t
	}
	if before == nil {
		before = &fleet.Stats{}
	}
	t.known = true
	t.durations = now.Duration.Sub(before.Duration)
	ended, failed := t.durations.Count(), difference(serverErrorCount(now), serverErrorCount(before))
	// The updates of a subscription are not calls, but they are the traffic of its method.
	ended += difference(now.UpdatesPublished, before.UpdatesPublished)
	t.perSecond = float64(ended) / window.Seconds()
	t.failedPerSecond = float64(failed) / window.Seconds()
	return t
}

// difference returns a - b, or 0 if the counter was reset.
func difference(a, b uint64) uint64 { return a - min(a, b) }

// add adds the traffic of another method or server.
func (t *traffic) add(other traffic) {
	t.active += other.active
	t.known = t.known || other.known
	t.perSecond += other.perSecond
	t.failedPerSecond += other.failedPerSecond
	if len(other.durations.Counts) > 0 {
		if !t.isOwn { // merging into an empty histogram copies the counts
			own := fleet.Histogram{}
			own.Merge(t.durations)
			t.durations, t.isOwn = own, true
		}
		t.durations.Merge(other.durations)
	}
}

// rate returns the calls per second, or nil if they are not known.
func (t *traffic) rate() *float64 {
	if !t.known {
		return nil
	}
	return new(rounded(t.perSecond))
}

// errorRate returns the fraction of calls that have failed, or nil if there were none.
func (t *traffic) errorRate() *float64 {
	if !t.known || t.perSecond == 0 {
		return nil
	}
	return new(min(rounded(t.failedPerSecond/t.perSecond), 1))
}

// p99 returns the 99th percentile of the durations in seconds, or nil if there are none.
func (t *traffic) p99() *float64 {
	if len(t.durations.Counts) == 0 || t.durations.Count() == 0 {
		return nil
	}
	return new(seconds(t.durations.Quantile(0.99)))
}

// serverErrorCount returns the number of failed calls.
func serverErrorCount(stats *fleet.Stats) (count uint64) {
	for _, n := range stats.Errors {
		count += n
	}
	return count
}
