package interop

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// fleet is the setting of a scenario: clients of one library, servers of the other one, and a
// broker.
type fleet struct {
	broker

	from, to library
}

// scenario is something that must work between clients and servers of both libraries. It is a row
// of the table in docs/migrating.md.
type scenario struct {
	name string
	// checks says what is checked, with the numbers of calls and messages.
	checks string
	run    func(t *testing.T, f fleet)
	// features contains the features that the scenario tests. Only newer versions of psrpc have
	// them.
	features features
}

var scenarios = []scenario{
	{name: "single call, queue", checks: "200 calls to 2 servers: answered once, run once", run: testQueue},
	{name: "single call, affinity", checks: "10 calls to 3 servers: the best one runs them", run: testAffinity},
	{name: "multi call", checks: "5 calls to 3 servers: 3 responses each", run: testMulti},
	{name: "topics", checks: "queue, `single_server` and multi calls, streams, updates: 2 topics are kept apart", run: testTopics},
	{name: "stream", checks: "100 messages each way, closed by either side with an error", run: testStream},
	{name: "stream of 10,000 messages", checks: "10,000 messages each way at once, in order", run: testLongStream},
	{name: "subscription", checks: "200 updates to each of 3 subscribers, in order", run: testSubscription},
	{name: "queue subscription", checks: "200 updates: each to 1 of 3 subscribers", run: testQueueSubscription},
	{name: "errors", checks: "22 codes: code, text, details, HTTP and gRPC status", run: testErrors},
	{name: "metadata", checks: "calls, multi calls and streams", run: testMetadata},
	{name: "timeout", checks: "the handler has the client's deadline; the call ends at it", run: testTimeout},
	{name: "compression on", checks: "every kind, 20 messages of 3 KB each", run: testCompression,
		features: features{compression: true}},
	{name: "skip-claim on", checks: "200 calls to 2 servers: run once, without a claim", run: testSkipClaim,
		features: features{skipClaim: true}},
	{name: "mixed fleet", checks: "2 servers of each library, every kind: none lost, none run twice", run: testMixedFleet},
	{name: "shutdown under load", checks: "3 servers replaced under 8 callers; dynpsrpc loses no call, psrpc only those on their way to a server that shuts down", run: testShutdown},
}

// roles are the columns of the table for one version of psrpc and one broker.
var roles = []struct {
	name string
	// libraries returns the libraries of the clients and the servers.
	libraries func(f features) (from, to library)
}{
	{"serves", func(f features) (from, to library) { return dynpsrpcWith(f), psrpcWith(f) }},
	{"calls", func(f features) (from, to library) { return psrpcWith(f), dynpsrpcWith(f) }},
}

// exists reports whether a version of psrpc has the features that the scenario is about.
func (s scenario) exists(version string) bool {
	return s.features == features{} || version != "v0.7.2"
}

// TestPeers runs all scenarios of the table in docs/migrating.md for one version of psrpc. The
// command make interop runs it for both versions.
func TestPeers(t *testing.T) {
	for _, s := range scenarios {
		for _, role := range roles {
			for _, b := range brokers {
				t.Run(strings.Join([]string{s.name, "psrpc " + psrpcVersion + " " + role.name, b.name}, "/"), func(t *testing.T) {
					t.Parallel()
					if !s.exists(psrpcVersion) {
						t.Skip("this version of psrpc does not have it")
					}
					f := fleet{broker: b.start(t)}
					f.from, f.to = role.libraries(s.features)
					s.run(t, f)
				})
			}
		}
	}
}

// The table in docs/migrating.md must have a row for each scenario, with a cell for each version of
// psrpc, role and broker. Each cell must say what TestPeers requires: "yes", or "-" if the version
// does not have the feature.
func TestTable_HasEveryCell(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../../docs/migrating.md")
	require.NoError(t, err)
	header := []string{"scenario", "checked"}
	for _, version := range []string{"v0.7.2", "v0.8.2"} {
		for _, role := range roles {
			for _, b := range brokers {
				header = append(header, strings.Join([]string{version, role.name + ",", b.name}, " "))
			}
		}
	}
	table := [][]string{header}
	for _, s := range scenarios {
		row := []string{s.name, s.checks}
		for _, column := range header[len(row):] {
			version, _, _ := strings.Cut(column, " ")
			if s.exists(version) {
				row = append(row, "yes")
			} else {
				row = append(row, "-")
			}
		}
		table = append(table, row)
	}
	shown := tableWith(string(document), header)
	t.Log("\n" + format(table))
	assert.Equal(t, format(table), format(shown))
	assert.Contains(t, []string{"v0.7.2", "v0.8.2"}, psrpcVersion)
}

// tableWith returns the rows of the Markdown table that has the given header, including the header.
// It leaves out the line below the header.
func tableWith(document string, header []string) (table [][]string) {
	found := false
	for line := range strings.Lines(document) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case slices.Equal(cells, header):
			found = true
		case !found || strings.HasPrefix(cells[0], "---"):
			continue
		case len(cells) < len(header):
			return table
		}
		table = append(table, cells)
	}
	return table
}

func format(table [][]string) string {
	var lines strings.Builder
	for _, cells := range table {
		lines.WriteString("| " + strings.Join(cells, " | ") + " |\n")
	}
	return lines.String()
}
