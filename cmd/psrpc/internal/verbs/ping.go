package verbs

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/human"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
)

func newPing(a *app.App) *cobra.Command {
	var q query
	var watch watchFlags
	cmd := &cobra.Command{
		Use:   "ping [SERVER]",
		Short: "Ask all servers, or one, to answer: round trip and clock",
		Long: `Ask all servers, or one, to answer.

RTT is the time from the question to the answer. CLOCK is by how much the clock of the server is
ahead of the clock here. Its error is at most half of RTT.`,
		Args:              arguments(0, 1),
		ValidArgsFunction: completeServers(a, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				q.server = args[0]
			}
			return watch.run(cmd.Context(), a, func(ctx context.Context) error { return showPing(ctx, a, &q) })
		},
	}
	q.addFilter(cmd)
	watch.add(cmd)
	return cmd
}

func showPing(ctx context.Context, a *app.App, q *query) error {
	start := time.Now()
	servers, err := q.servers(ctx, a)
	if err != nil {
		return err
	}
	r := pingReport(servers)
	r.notes = []string{fmt.Sprintf("%s answered in %s", human.Plural(len(servers), "server"), human.Duration(time.Since(start)))}
	return r.show(a)
}

type pingRow struct {
	Server string `json:"server"`
	App    string `json:"app,omitempty"`
	State  string `json:"state"`
	RTT    int64  `json:"rtt_ns"`
	Clock  int64  `json:"clock_ns"`
}

func pingReport(servers []*fleet.Server) *report {
	r := &report{headers: []string{titleServer, titleState, titleApp, "RTT", "CLOCK", "SOFTWARE", titleLabels}, wide: 5}
	document := make([]pingRow, len(servers))
	for i, server := range servers {
		r.rows = append(r.rows, []string{
			server.ID, server.State.String(), orNone(appText(server)), human.Duration(server.RoundTrip),
			human.Offset(server.ClockOffset), orNone(server.Software), orNone(labelText(server.Labels)),
		})
		document[i] = pingRow{server.ID, appText(server), server.State.String(), int64(server.RoundTrip), int64(server.ClockOffset)}
	}
	r.document = document
	return r
}
