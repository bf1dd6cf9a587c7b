package fleetmetrics

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/interceptors/metrics"
)

const (
	// fresh is how long the answers of the fleet are reused. Several monitoring systems that
	// collect at the same time thus cause only one discovery request.
	fresh = 5 * time.Second
	// patience is how long the fleet may take to answer. Prometheus waits for 10 s by default.
	patience = 5 * time.Second
	// maxServices is the maximum number of services that are reported. They are the first ones in
	// the order of their names. The limit bounds the number of time series.
	maxServices = 1000
)

const (
	keyState   = "dynpsrpc.state"
	keyService = "dynpsrpc.service"
)

var (
	servers         = gauge("servers", "Servers of the fleet by state.", "{server}", keyState)
	silentServers   = gauge("silent_servers", "Servers that have received a question without answering it.", "{server}")
	clockOffset     = gauge("clock_offset", "Largest difference between a server's clock and that of this machine.", "s")
	serviceServers  = gauge("service.servers", "Servers of a service.", "{server}", keyService)
	serviceVersions = gauge("service.versions", "Versions of the descriptors of a service.", "{version}", keyService)
)

func gauge(name, description, unit string, keys ...string) *metrics.Instrument {
	return &metrics.Instrument{Name: "dynpsrpc.fleet." + name, Description: description, Unit: unit, Kind: metrics.Gauge, Keys: keys}
}

// source asks a fleet and reuses the answer for the duration fresh.
type source struct {
	fleet  *fleet.Fleet
	logger *slog.Logger

	// mu guards the following fields. It is held while the fleet is asked, so that concurrent
	// reports wait for the same answer.
	mu    sync.Mutex
	asked time.Time
	facts facts
}

// Source returns a source that asks a fleet whenever it is called, unless the last answer is less
// than 5 s old. It waits up to 5 s for the answers.
func Source(f *fleet.Fleet, logger *slog.Logger) metrics.Source {
	return (&source{fleet: f, logger: logger}).report
}

func (s *source) report(record metrics.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked.IsZero() || time.Since(s.asked) > fresh {
		s.facts = s.ask()
		s.asked = time.Now()
	}
	s.facts.report(record)
}

func (s *source) ask() facts {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	peers, err := s.fleet.Peers(ctx)
	if err != nil {
		s.logger.Warn("the metrics of the fleet are missing", "error", err)
		return unknown
	}
	return factsOf(peers)
}

// facts contains the values that a source reports about a fleet.
type facts struct {
	starting, serving, draining, refused float64
	silent                               float64
	clockOffset                          float64 // in seconds
	services                             []serviceFacts
}

type serviceFacts struct {
	wireName          string
	servers, versions int
}

// unknown contains the facts about a fleet that could not be asked.
var unknown = facts{
	starting: math.NaN(), serving: math.NaN(), draining: math.NaN(), refused: math.NaN(),
	silent: math.NaN(), clockOffset: math.NaN(),
}

func factsOf(peers *fleet.Peers) facts {
	f := facts{refused: float64(len(peers.Refused)), silent: float64(peers.Silent)}
	if peers.Silent == bus.Unknown {
		f.silent = math.NaN()
	}
	digests := make(map[string]map[fleet.Digest]bool) // by the name of the service on the bus
	for _, server := range peers.Servers {
		switch server.State {
		case fleet.StateStarting:
			f.starting++
		case fleet.StateDraining:
			f.draining++
		default:
			f.serving++
		}
		// The server read its clock at an unknown time during the round trip, so the offset may be
		// off by up to half the round trip.
		f.clockOffset = max(f.clockOffset, (server.ClockOffset.Abs() - server.RoundTrip/2).Seconds())
		for _, service := range server.Services {
			if digests[service.WireName] == nil {
				digests[service.WireName] = make(map[fleet.Digest]bool)
			}
			digests[service.WireName][service.Digest] = true
		}
	}
	for _, service := range peers.Services[:min(len(peers.Services), maxServices)] {
		if len(service.Servers) > 0 {
			f.services = append(f.services, serviceFacts{service.WireName, len(service.Servers), len(digests[service.WireName])})
		}
	}
	return f
}

func (f facts) report(record metrics.Record) {
	record(servers, f.starting, fleet.StateStarting.String())
	record(servers, f.serving, fleet.StateServing.String())
	record(servers, f.draining, fleet.StateDraining.String())
	record(servers, f.refused, "refused")
	record(silentServers, f.silent)
	record(clockOffset, f.clockOffset)
	for _, service := range f.services {
		record(serviceServers, float64(service.servers), service.wireName)
		record(serviceVersions, float64(service.versions), service.wireName)
	}
}
