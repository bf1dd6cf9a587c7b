package verbs

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
)

// findServer returns the description that the server with the given ID gives of itself. It returns
// nil if no server has that ID.
func findServer(ctx context.Context, a *app.App, id string) (*fleet.Server, error) {
	f, err := a.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	parts := fleet.Parts(fleet.PartServices, fleet.PartHealth, fleet.PartBus, fleet.PartRuntime, fleet.PartPlugins)
	for server, err := range f.Servers(ctx, a.Wait(), fleet.OnServer(id), parts) {
		return server, err
	}
	return nil, nil //nolint:nilnil // the caller reports where the name was looked for
}

// serverDocument is a server in the format json.
type serverDocument struct {
	Server   string            `json:"server"`
	State    string            `json:"state"`
	Started  time.Time         `json:"started"`
	Software string            `json:"software"`
	App      string            `json:"app,omitempty"`
	Version  string            `json:"app_version,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Health   string            `json:"health"`
	Checks   []checkRow        `json:"checks,omitempty"`
	Bus      []string          `json:"bus,omitempty"`
	Process  *processDocument  `json:"process,omitempty"`
	Services []serviceDocument `json:"services"`
	Plugins  []string          `json:"plugins,omitempty"`
}

type processDocument struct {
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	Processors uint32 `json:"processors"`
	Goroutines uint64 `json:"goroutines"`
	HeapBytes  uint64 `json:"heap_bytes"`
}

type serviceDocument struct {
	Name     string   `json:"name"`
	WireName string   `json:"wire_name"`
	Digest   string   `json:"digest"`
	Methods  []string `json:"methods"`
}

// printServer prints the description that a server gives of itself.
func printServer(a *app.App, s *fleet.Server) error {
	document := serverDocument{
		Server: s.ID, State: s.State.String(), Started: s.Started, Software: s.Software, App: s.App, Version: s.AppVersion,
		Labels: s.Labels, Health: s.Health.Status.String(), Checks: checkRows(s), Services: []serviceDocument{},
	}
	rows := [][2]string{
		{"server", s.ID},
		{"app", strings.TrimSpace(s.App + " " + s.AppVersion)},
		{"software", s.Software},
		{"labels", labelText(s.Labels)},
		{"state", fmt.Sprintf("%s, started %s", s.State, s.Started.UTC().Format(time.RFC3339))},
		{"health", s.Health.Status.String()},
	}
	for _, check := range s.Health.Checks {
		rows = append(rows, [2]string{"", strings.TrimSpace(fmt.Sprintf("%s %s %s", check.Name, check.Status, check.Text))})
	}
	if b := s.Bus; b != nil {
		document.Bus = slices.Concat([]string{b.Kind}, b.Modes)
		rows = append(rows, [2]string{"bus", strings.Join(document.Bus, ", ")})
	}
	if r := s.Runtime; r != nil {
		document.Process = &processDocument{r.OS, r.Arch, r.NumCPU, r.Goroutines, r.HeapBytes}
		rows = append(rows, [2]string{"process", fmt.Sprintf("%s/%s, %d processors, %d goroutines, %d MiB of heap", r.OS, r.Arch, r.NumCPU, r.Goroutines, r.HeapBytes>>20)})
	}
	for _, plugin := range s.Plugins {
		document.Plugins = append(document.Plugins, plugin.Name)
		rows = append(rows, [2]string{"plugin", fmt.Sprintf("%s %s %s", plugin.Name, plugin.Version, plugin.State)})
	}
	for _, service := range s.Services {
		v := serviceDocument{Name: service.Name, WireName: service.WireName, Digest: service.Digest.String(), Methods: []string{}}
		for _, method := range service.Methods {
			v.Methods = append(v.Methods, method.Name)
		}
		document.Services = append(document.Services, v)
		rows = append(rows, [2]string{"service", fmt.Sprintf("%s  %.8s  %s", service.Name, v.Digest, strings.Join(v.Methods, ", "))})
	}
	if a.Format() == app.FormatJSON {
		return a.JSON(document)
	}
	var text strings.Builder
	for _, row := range rows {
		if row[1] != "" {
			fmt.Fprintf(&text, "%-9s %s\n", row[0], app.OneLine(row[1]))
		}
	}
	return a.Printf("%s", text.String())
}
