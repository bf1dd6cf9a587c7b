package explorer

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// maxID is the maximum length of a server ID in a request, in bytes.
const maxID = 512

// serverInfo is all information about a server.
type serverInfo struct {
	ID          string            `json:"id"`
	App         string            `json:"app"`
	AppVersion  string            `json:"appVersion"`
	Software    string            `json:"software"`
	API         uint32            `json:"api"`
	Labels      map[string]string `json:"labels"`
	State       string            `json:"state"`
	StateSince  *time.Time        `json:"stateSince"`
	Now         time.Time         `json:"now"`
	Started     *time.Time        `json:"started"`
	RoundTrip   float64           `json:"roundTrip"`
	ClockOffset float64           `json:"clockOffset"`
	Truncated   bool              `json:"truncated"`
	Health      healthInfo        `json:"health"`
	Services    []servedInfo      `json:"services"`
	Bus         *serverBus        `json:"bus"`
	Runtime     *runtimeInfo      `json:"runtime"`
	Plugins     []pluginInfo      `json:"plugins"`
}

type healthInfo struct {
	Status   string            `json:"status"`
	Services map[string]string `json:"services"`
	Checks   []checkInfo       `json:"checks"`
}

type checkInfo struct {
	Name   string     `json:"name"`
	Status string     `json:"status"`
	Text   string     `json:"text,omitempty"`
	Since  *time.Time `json:"since"`
}

type servedInfo struct {
	Name     string         `json:"name"`
	WireName string         `json:"wireName"`
	Digest   string         `json:"digest"`
	Methods  []servedMethod `json:"methods"`
}

type servedMethod struct {
	Name          string     `json:"name"`
	WireName      string     `json:"wireName"`
	Kind          string     `json:"kind"`
	Routing       string     `json:"routing"`
	RequireClaim  bool       `json:"requireClaim"`
	TopicParams   []string   `json:"topicParams"`
	TopicCount    uint32     `json:"topicCount"`
	Topics        []string   `json:"topics"`
	Unimplemented bool       `json:"unimplemented,omitempty"`
	MaxConcurrent uint32     `json:"maxConcurrent"`
	Rate          *float64   `json:"rate"`
	ErrorRate     *float64   `json:"errorRate"`
	P99           *float64   `json:"p99"`
	Stats         *statsInfo `json:"stats"`
}

type statsInfo struct {
	CallsStarted     uint64                      `json:"callsStarted"`
	CallsOK          uint64                      `json:"callsOk"`
	Errors           map[errors.ErrorCode]uint64 `json:"errors"`
	Declined         uint64                      `json:"declined"`
	NotRun           uint64                      `json:"notRun"`
	Expired          uint64                      `json:"expired"`
	Panics           uint64                      `json:"panics"`
	Active           uint64                      `json:"active"`
	RequestBytes     uint64                      `json:"requestBytes"`
	ResponseBytes    uint64                      `json:"responseBytes"`
	UpdatesPublished uint64                      `json:"updatesPublished"`
	Duration         histogramInfo               `json:"duration"`
	LastError        *lastErrorInfo              `json:"lastError"`
	LastCall         *time.Time                  `json:"lastCall"`
	LastAffinity     float64                     `json:"lastAffinity"`
}

// histogramInfo contains statistics of the durations of calls, in seconds.
type histogramInfo struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
	// Buckets contains the upper bound and the number of calls of each bucket that is not empty.
	Buckets [][2]float64 `json:"buckets"`
}

type lastErrorInfo struct {
	At   *time.Time       `json:"at"`
	Code errors.ErrorCode `json:"code"`
	Text string           `json:"text,omitempty"`
}

type serverBus struct {
	Kind          string   `json:"kind"`
	Connected     bool     `json:"connected"`
	Disconnects   uint64   `json:"disconnects"`
	Published     uint64   `json:"published"`
	PublishErrors uint64   `json:"publishErrors"`
	Received      uint64   `json:"received"`
	Dropped       uint64   `json:"dropped"`
	Prefix        string   `json:"prefix"`
	Modes         []string `json:"modes"`
	RedisDB       int32    `json:"redisDb"`
	RTT           float64  `json:"rtt"`
}

type runtimeInfo struct {
	Goroutines uint64  `json:"goroutines"`
	HeapBytes  uint64  `json:"heapBytes"`
	RSSBytes   uint64  `json:"rssBytes"`
	CPU        float64 `json:"cpu"`
	GCPause    float64 `json:"gcPause"`
	OpenFDs    uint64  `json:"openFds"`
	NumCPU     uint32  `json:"numCpu"`
	OS         string  `json:"os"`
	Arch       string  `json:"arch"`
}

type pluginInfo struct {
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	Loader     string     `json:"loader"`
	Digest     string     `json:"digest"`
	State      string     `json:"state"`
	Since      *time.Time `json:"since"`
	Generation uint32     `json:"generation"`
	Services   []string   `json:"services"`
	Handled    uint64     `json:"handled"`
	Failed     uint64     `json:"failed"`
	Error      string     `json:"error,omitempty"`
}

func (e *Explorer) serveServer(w http.ResponseWriter, r *http.Request) error {
	server, err := e.askServer(r)
	if err != nil {
		return err
	}
	current, _, _ := e.poller.latest()
	return writeJSON(w, r, serverInfoOf(server, current))
}

// askServer gets all information about the server that the path of a request names.
func (e *Explorer) askServer(r *http.Request) (*fleet.Server, error) {
	id, err := serverIDOf(r)
	if err != nil {
		return nil, err
	}
	ctx, end, err := e.startQuestion(r)
	if err != nil {
		return nil, err
	}
	defer end()
	var answer *fleet.Server
	for server, err := range e.fleet.Servers(ctx, fleet.OnServer(id), fleet.MaxTopics(maxTopics), fleet.Parts(
		fleet.PartStats, fleet.PartTopics, fleet.PartHealth, fleet.PartBus, fleet.PartRuntime, fleet.PartPlugins)) {
		if err != nil {
			return nil, err
		}
		answer = server
	}
	if answer == nil {
		return nil, errors.NewErrorf(errors.NotFound, "no server %.200q has answered; only servers whose programs call fleet.Serve do", id)
	}
	return answer, nil
}

// serverIDOf returns the ID in the path of a request.
func serverIDOf(r *http.Request) (string, error) {
	id := r.PathValue("id")
	if id == "" || len(id) > maxID {
		return "", errors.NewErrorf(errors.InvalidArgument, "a server ID has 1 to %d bytes", maxID)
	}
	return id, nil
}

// serverInfoOf returns the information about a server. current is the result of the last poll, or
// nil.
func serverInfoOf(server *fleet.Server, current *snapshot) *serverInfo {
	info := &serverInfo{
		ID: server.ID, App: server.App, AppVersion: server.AppVersion, Software: server.Software, API: server.API,
		Labels: server.Labels, State: server.State.String(), StateSince: whenKnown(server.StateSince), Now: server.Now.UTC(),
		Started: whenKnown(server.Started), RoundTrip: seconds(server.RoundTrip), ClockOffset: seconds(server.ClockOffset),
		Truncated: server.Truncated, Health: healthInfoOf(&server.Health), Services: []servedInfo{}, Plugins: []pluginInfo{},
	}
	for i := range server.Services {
		service := &server.Services[i]
		if fleet.IsControlService(service.WireName) {
			continue
		}
		served := servedInfo{Name: service.Name, WireName: service.WireName, Digest: service.Digest.String(), Methods: []servedMethod{}}
		for j := range service.Methods {
			method := servedMethodOf(&service.Methods[j])
			if current != nil {
				t := current.traffic[methodKey{server.ID, service.WireName, method.WireName}]
				method.Rate, method.ErrorRate, method.P99 = t.rate(), t.errorRate(), t.p99()
			}
			served.Methods = append(served.Methods, method)
		}
		info.Services = append(info.Services, served)
	}
	if b := server.Bus; b != nil {
		info.Bus = &serverBus{
			Kind: b.Kind, Connected: b.Connected, Disconnects: b.Disconnects, Published: b.Published, PublishErrors: b.PublishErrors,
			Received: b.Received, Dropped: b.Dropped, Prefix: b.Prefix, Modes: orEmpty(b.Modes), RedisDB: b.RedisDB, RTT: seconds(b.RTT),
		}
	}
	if r := server.Runtime; r != nil {
		info.Runtime = &runtimeInfo{
			Goroutines: r.Goroutines, HeapBytes: r.HeapBytes, RSSBytes: r.RSSBytes, CPU: seconds(r.CPU), GCPause: seconds(r.GCPause),
			OpenFDs: r.OpenFDs, NumCPU: r.NumCPU, OS: r.OS, Arch: r.Arch,
		}
	}
	for i := range server.Plugins {
		info.Plugins = append(info.Plugins, pluginInfoOf(&server.Plugins[i]))
	}
	return info
}

func healthInfoOf(health *fleet.Health) healthInfo {
	info := healthInfo{Status: health.Status.String(), Services: map[string]string{}, Checks: []checkInfo{}}
	for name, status := range health.Services {
		info.Services[name] = status.String()
	}
	for _, check := range health.Checks {
		info.Checks = append(info.Checks, checkInfo{
			Name: check.Name, Status: check.Status.String(), Text: check.Text, Since: whenKnown(check.Since),
		})
	}
	return info
}

func servedMethodOf(method *fleet.Method) servedMethod {
	return servedMethod{
		Name: method.Name, WireName: method.WireName, Kind: method.Kind.String(), Routing: method.Routing.String(),
		RequireClaim: method.RequireClaim, TopicParams: orEmpty(method.TopicParams), TopicCount: method.TopicCount,
		Topics: orEmpty(method.Topics), Unimplemented: method.Unimplemented, MaxConcurrent: method.MaxConcurrent,
		Stats: statsInfoOf(method.Stats),
	}
}

func statsInfoOf(stats *fleet.Stats) *statsInfo {
	if stats == nil {
		return nil
	}
	info := &statsInfo{
		CallsStarted: stats.CallsStarted, CallsOK: stats.CallsOK, Errors: stats.Errors, Declined: stats.Declined,
		NotRun: stats.NotRun, Expired: stats.Expired, Panics: stats.Panics, Active: stats.Active,
		RequestBytes: stats.RequestBytes, ResponseBytes: stats.ResponseBytes, UpdatesPublished: stats.UpdatesPublished,
		Duration: histogramInfoOf(&stats.Duration), LastCall: whenKnown(stats.LastCall), LastAffinity: rounded(float64(stats.LastAffinity)),
	}
	if last := stats.LastError; last != nil {
		info.LastError = &lastErrorInfo{At: whenKnown(last.At), Code: last.Code, Text: last.Text}
	}
	return info
}

func histogramInfoOf(h *fleet.Histogram) histogramInfo {
	info := histogramInfo{
		Count: h.Count(), Mean: seconds(h.Mean()), P50: seconds(h.Quantile(0.5)), P90: seconds(h.Quantile(0.9)),
		P99: seconds(h.Quantile(0.99)), Max: seconds(h.Max), Buckets: [][2]float64{},
	}
	for bound, count := range h.Buckets() {
		info.Buckets = append(info.Buckets, [2]float64{seconds(bound), float64(count)})
	}
	return info
}

func pluginInfoOf(p *fleet.Plugin) pluginInfo {
	return pluginInfo{
		Name: p.Name, Version: p.Version, Loader: p.Loader, Digest: p.Digest, State: p.State, Since: whenKnown(p.Since),
		Generation: p.Generation, Services: orEmpty(p.Services), Handled: p.Handled, Failed: p.Failed, Error: p.Error,
	}
}

func (e *Explorer) drain(w http.ResponseWriter, r *http.Request) error {
	return e.administer(w, r, &struct{}{}, func(ctx context.Context, id string) (any, error) {
		state, err := e.fleet.Drain(ctx, id)
		return map[string]string{"state": state.String()}, err
	})
}

func (e *Explorer) resume(w http.ResponseWriter, r *http.Request) error {
	return e.administer(w, r, &struct{}{}, func(ctx context.Context, id string) (any, error) {
		state, err := e.fleet.Resume(ctx, id)
		return map[string]string{"state": state.String()}, err
	})
}

func (e *Explorer) setLogLevel(w http.ResponseWriter, r *http.Request) error {
	var request struct {
		Level *slog.Level `json:"level"`
	}
	return e.administer(w, r, &request, func(ctx context.Context, id string) (any, error) {
		if request.Level == nil {
			return nil, errors.NewErrorf(errors.InvalidArgument, "the level is missing: DEBUG, INFO, WARN or ERROR")
		}
		previous, err := e.fleet.SetLogLevel(ctx, id, *request.Level)
		return map[string]string{"previous": previous.String(), "level": request.Level.String()}, err
	})
}

func (e *Explorer) reloadPlugin(w http.ResponseWriter, r *http.Request) error {
	var request struct {
		Name string `json:"name"`
	}
	return e.administer(w, r, &request, func(ctx context.Context, id string) (any, error) {
		plugin, err := e.fleet.ReloadPlugin(ctx, id, request.Name)
		if err != nil {
			return nil, err
		}
		return pluginInfoOf(plugin), nil
	})
}

// administer reads the body of the HTTP request into request, makes a change on the server that the
// path names, and logs the change.
func (e *Explorer) administer(
	w http.ResponseWriter, r *http.Request, request any, change func(ctx context.Context, id string) (any, error),
) error {
	id, err := serverIDOf(r)
	if err != nil {
		return err
	}
	if err := readJSON(w, r, request); err != nil {
		return err
	}
	ctx, end, err := e.startQuestion(r)
	if err != nil {
		return err
	}
	defer end()
	result, err := change(ctx, id)
	e.options.logger.Info("dynpsrpc: a person has used the explorer to change a server",
		slog.String("path", r.URL.Path), slog.String("from", r.RemoteAddr), slog.Any("error", err))
	if errors.Is(err, errors.ErrNoResponse) {
		return errors.NewErrorf(errors.FailedPrecondition,
			"server %s permits no changes, or is gone: its program must call fleet.Serve with fleet.WithAdmin", id)
	}
	if err != nil {
		return err
	}
	return writeJSON(w, r, result)
}
