package verbs

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/human"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/summary"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
)

// serverRow is a server in the format json. If the server cannot answer, only its ID is set.
type serverRow struct {
	Server    string            `json:"server"`
	State     string            `json:"state,omitempty"`
	App       string            `json:"app,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Software  string            `json:"software,omitempty"`
	Digest    string            `json:"digest,omitempty"`
	Started   time.Time         `json:"started,omitzero"`
	Health    string            `json:"health,omitempty"`
	Active    uint64            `json:"active"`
	PerSecond float64           `json:"per_second"`
	OK        uint64            `json:"ok"`
	Failed    uint64            `json:"failed"`
	P50       int64             `json:"p50_ns"`
	P99       int64             `json:"p99_ns"`
	Clock     int64             `json:"clock_ns"`
	RTT       int64             `json:"rtt_ns"`
}

// serversReport returns a report with one line for each server of a service.
func serversReport(servers []*fleet.Server, service string) *report {
	r := &report{
		headers: []string{titleServer, titleState, titleApp, "SINCE", "HEALTH", titleActive, titleRate, titleP50, titleP99, "CLOCK",
			titleErrors, "DIGEST", "RTT", titleLabels, "SOFTWARE"},
		wide: 10,
	}
	keep := func(s *fleet.Service, _ *fleet.Method) bool { return s.Name == service }
	loads := make(map[string]*summary.Load)
	all := summary.Loads(nil, servers, summary.ByServer, keep)
	for i := range all {
		loads[all[i].Name] = &all[i]
	}
	document := make([]serverRow, len(servers))
	for i, server := range servers {
		load := loads[server.ID]
		if load == nil {
			load = new(summary.Load)
		}
		status, digest := summary.StatusOf(server, service), digestOf(server, service)
		r.rows = append(r.rows, []string{
			server.ID, server.State.String(), orNone(appText(server)), human.Age(server.Now.Sub(server.Started)),
			statusText(status), human.Count(load.Active), human.Rate(load.PerSecond), quantile(load, 0.5),
			quantile(load, 0.99), human.Offset(server.ClockOffset), errorsOf(load), shortDigest(digest),
			human.Duration(server.RoundTrip), orNone(labelText(server.Labels)), orNone(server.Software),
		})
		document[i] = serverRow{
			Server: server.ID, State: server.State.String(), App: appText(server), Labels: server.Labels,
			Software: server.Software, Digest: digest.String(), Started: server.Started.UTC(), Health: status.String(),
			Active: load.Active, PerSecond: load.PerSecond, OK: load.OK, Failed: load.Failed,
			P50: int64(load.Duration.Quantile(0.5)), P99: int64(load.Duration.Quantile(0.99)),
			Clock: int64(server.ClockOffset), RTT: int64(server.RoundTrip),
		}
	}
	r.document = document
	return r
}

// digestOf returns the digest of a service on a server.
func digestOf(server *fleet.Server, service string) fleet.Digest {
	for s := range server.Services {
		if server.Services[s].Name == service {
			return server.Services[s].Digest
		}
	}
	return fleet.Digest{}
}
