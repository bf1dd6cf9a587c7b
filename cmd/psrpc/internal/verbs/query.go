package verbs

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/human"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
)

// query holds the flags that decide which servers a verb asks, and how long it waits.
type query struct {
	server string
	labels map[string]string
	wait   time.Duration
}

func (q *query) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&q.server, "server", "", "ask only the server with this `ID`")
	q.addFilter(cmd)
}

// addFilter adds the same flags as add, except for --server. It is for verbs that always ask all
// servers.
func (q *query) addFilter(cmd *cobra.Command) {
	cmd.Flags().StringToStringVar(&q.labels, "label", nil, "only servers with the label `key=value`")
	cmd.Flags().Lookup("label").DefValue = "" // the help would show an empty map as []
	cmd.Flags().DurationVar(&q.wait, "wait", 0, "the longest `time` to wait for servers that do not answer (default --timeout, or 2s)")
}

// waitTime returns how long to wait for servers that do not answer.
func (q *query) waitTime(a *app.App) time.Duration {
	return cmp.Or(q.wait, a.Flags.Timeout, a.DefaultWait, fleet.DefaultWait)
}

// servers asks the servers and returns the answers that the flags select, sorted by ID. It warns
// the user about servers that do not answer or refuse to. If no server is left, the error has the
// exit code ExitNobody.
func (q *query) servers(ctx context.Context, a *app.App, opts ...fleet.QueryOption) ([]*fleet.Server, error) {
	f, err := a.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	wait := q.waitTime(a)
	opts = append(opts, fleet.Wait(wait))
	if q.server != "" {
		opts = append(opts, fleet.OnServer(q.server))
	}
	var servers []*fleet.Server
	answered := 0
	start := time.Now()
	for server, err := range f.Servers(ctx, opts...) {
		switch {
		case server == nil:
			return nil, app.RPC(err)
		case err != nil:
			a.Warnf("server %s refuses to answer: %v", server.ID, err)
			continue
		}
		answered++
		if q.selects(server) {
			servers = append(servers, server)
		}
	}
	silent := time.Since(start) >= wait && countsReceivers(f)
	if len(servers) == 0 {
		return nil, q.noServersError(a, answered, silent, wait)
	}
	if silent {
		a.Warnf("at least one server has not answered within %s: it is frozen or cut off",
			human.Duration(wait))
	}
	slices.SortFunc(servers, func(a, b *fleet.Server) int { return strings.Compare(a.ID, b.ID) })
	return servers, nil
}

// countsReceivers reports whether the bus counts the receivers of a query. If it does, the query
// ends when all servers have answered. A query that lasts until its timeout then means that a
// server is silent.
func countsReceivers(f *fleet.Fleet) bool {
	counter, ok := f.Conn().Bus().(bus.ReceiverCounter)
	return !ok || counter.CountsReceivers()
}

// noServersError returns the error for a query whose result contains no server.
func (q *query) noServersError(a *app.App, answered int, silent bool, wait time.Duration) error {
	switch {
	case answered > 0:
		return app.Nobodyf("none of %s has the label %s", human.Plural(answered, "server"), labelText(q.labels))
	case q.server != "" && silent:
		return app.Hint(app.Nobodyf("server %s has not answered within %s", q.server, human.Duration(wait)),
			"it is frozen or cut off")
	case q.server != "":
		return app.Hint(app.Nobodyf("there is no server %s that answers", q.server), hintServers)
	case silent:
		return app.Hint(app.Nobodyf("no server has answered within %s", human.Duration(wait)), hintServe)
	default:
		return app.Hint(noServer(a), hintServe)
	}
}

// noServer returns the error to report if no server answers. It names the prefix, because servers
// with another prefix do not get the request.
func noServer(a *app.App) error {
	if settings, err := a.Settings(); err == nil && settings.Prefix != "" {
		return app.Nobodyf("no server answers with the prefix %s", settings.Prefix)
	}
	return app.Nobodyf("no server answers")
}

const (
	hintServe   = "servers answer if their program calls fleet.Serve, on the same bus and with the same prefix; psrpc list --scan shows others, too"
	hintServers = "psrpc ping lists the servers that answer"
	hintList    = "psrpc list shows the services that there are"
)

// selects reports whether a server has the labels that the user wants.
func (q *query) selects(server *fleet.Server) bool {
	for key, value := range q.labels {
		if server.Labels[key] != value {
			return false
		}
	}
	return true
}

// labelText returns labels sorted by key, such as "host=a,region=eu".
func labelText(labels map[string]string) string {
	texts := make([]string, 0, len(labels))
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		texts = append(texts, key+"="+labels[key])
	}
	return strings.Join(texts, ",")
}

// hasSuffixName reports whether short is the name full, or the end of it after a dot. For example,
// "Greeter" stands for "greeting.Greeter", and "Greeter/Hello" for "greeting.Greeter/Hello".
func hasSuffixName(full, short string) bool {
	return full == short || strings.HasSuffix(full, "."+short)
}

// shortDigest returns the first digits of a digest, which are enough to tell versions apart.
func shortDigest(digest fleet.Digest) string { return digest.String()[:8] }
