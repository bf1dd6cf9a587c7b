package verbs

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/human"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/summary"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func newHealth(a *app.App) *cobra.Command {
	var q query
	var watch watchFlags
	cmd := &cobra.Command{
		Use:   "health [SERVICE]",
		Short: "Show the health of servers; exit code 5 unless all are well",
		Long: `Show the health of servers, or of one service on them.

The exit code is 5 if a server is not well, or if all servers are draining. With --count, it is that
of the last table.`,
		Args:              arguments(0, 1),
		ValidArgsFunction: completeServices(a, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			service := strings.Join(args, "")
			var verdict error
			err := watch.run(cmd.Context(), a, func(ctx context.Context) error {
				var err error
				verdict, err = showHealth(ctx, a, &q, service)
				return err
			})
			if err != nil {
				return err
			}
			return verdict
		},
	}
	q.add(cmd)
	watch.add(cmd)
	return cmd
}

// showHealth prints the health of servers. verdict is an error if one of them is not healthy.
func showHealth(ctx context.Context, a *app.App, q *query, service string) (verdict, err error) {
	servers, err := q.servers(ctx, a, fleet.Parts(fleet.PartHealth, fleet.PartServices))
	if err != nil {
		return nil, err
	}
	if service != "" {
		if servers, service, err = serversOf(servers, service); err != nil {
			return nil, err
		}
	}
	r, verdict := healthReport(servers, service, a.Now())
	return verdict, r.show(a)
}

// serversOf returns the servers that serve a service, and the full name of the service. short is
// the full name, its end after a dot, or the name on the bus. It must match only one service,
// unless it is a full name.
func serversOf(servers []*fleet.Server, short string) (of []*fleet.Server, full string, err error) {
	found := make(map[string][]*fleet.Server)
	for _, server := range servers {
		for s := range server.Services {
			if name := server.Services[s].Name; hasSuffixName(name, short) || server.Services[s].WireName == short {
				found[name] = append(found[name], server)
			}
		}
	}
	if exact, ok := found[short]; ok {
		return exact, short, nil
	}
	names := slices.Sorted(maps.Keys(found))
	switch len(names) {
	case 0:
		return nil, "", app.Hint(app.Nobodyf("no server that answers serves %s", short), hintList)
	case 1:
		return found[names[0]], names[0], nil
	default:
		return nil, "", app.Usagef("%s is ambiguous: %s", short, strings.Join(names, ", "))
	}
}

type healthRow struct {
	Server   string            `json:"server"`
	App      string            `json:"app,omitempty"`
	State    string            `json:"state"`
	Status   string            `json:"status"`
	Services map[string]string `json:"services,omitempty"`
	Checks   []checkRow        `json:"checks,omitempty"`
}

type checkRow struct {
	Name   string    `json:"name"`
	Status string    `json:"status"`
	Text   string    `json:"text,omitempty"`
	Since  time.Time `json:"since"`
}

// healthReport returns a report with one line for each server. verdict is an error if a server is
// not healthy, or if no server takes requests.
func healthReport(servers []*fleet.Server, service string, now time.Time) (r *report, verdict error) {
	r = &report{headers: []string{titleServer, titleState, "HEALTH", "CHECKS", titleApp, titleLabels}, wide: 4}
	document := make([]healthRow, len(servers))
	var unwell []string
	taking := 0
	for i, server := range servers {
		status := summary.StatusOf(server, service)
		if status != fleet.StatusServing {
			unwell = append(unwell, server.ID)
		}
		if server.State == fleet.StateServing {
			taking++
		}
		r.rows = append(r.rows, []string{
			server.ID, server.State.String(), statusText(status), checksText(server, service, now),
			orNone(appText(server)), orNone(labelText(server.Labels)),
		})
		document[i] = newHealthRow(server, status)
	}
	r.document = document
	switch {
	case len(unwell) > 0:
		return r, app.Exit(app.ExitUnwanted, fmt.Errorf("%d of %s not well: %s",
			len(unwell), human.Plural(len(servers), "server"), someOf(unwell)))
	case taking == 0:
		return r, app.Exit(app.ExitUnwanted, errors.New("no server takes requests"))
	}
	return r, nil
}

// someOf returns up to three names as text, followed by the number of the others.
func someOf(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

func newHealthRow(server *fleet.Server, status fleet.ServingStatus) healthRow {
	row := healthRow{
		Server: server.ID, App: appText(server), State: server.State.String(), Status: status.String(), Checks: checkRows(server),
	}
	for name, status := range server.Health.Services {
		if row.Services == nil {
			row.Services = make(map[string]string)
		}
		row.Services[name] = status.String()
	}
	return row
}

// checkRows returns the checks of a server for the format json.
func checkRows(server *fleet.Server) []checkRow {
	var rows []checkRow
	for _, check := range server.Health.Checks {
		rows = append(rows, checkRow{check.Name, check.Status.String(), check.Text, check.Since.UTC()})
	}
	return rows
}

// statusText returns a status in words.
func statusText(status fleet.ServingStatus) string {
	return strings.ReplaceAll(status.String(), "_", " ")
}

// checksText returns the problems of a server or, if there are none, the number of its health
// checks.
func checksText(server *fleet.Server, service string, now time.Time) string {
	var problems []string
	for name, status := range server.Health.Services {
		if status != fleet.StatusServing && (service == "" || service == name) {
			problems = append(problems, name+" is "+statusText(status))
		}
	}
	slices.Sort(problems)
	for _, check := range server.Health.Checks {
		if check.Status == fleet.StatusServing {
			continue
		}
		text := check.Name + ": " + cmp.Or(check.Text, statusText(check.Status))
		if !check.Since.IsZero() {
			text += " for " + human.Age(now.Add(server.ClockOffset).Sub(check.Since))
		}
		problems = append(problems, text)
	}
	switch {
	case len(problems) > 0:
		return strings.Join(problems, "; ")
	case len(server.Health.Checks) == 0:
		return human.None
	default:
		return fmt.Sprintf("%d ok", len(server.Health.Checks))
	}
}

func orNone(text string) string { return cmp.Or(text, human.None) }
