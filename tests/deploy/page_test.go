package deploy

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// pages contains all exported metrics, in the text format of Prometheus.
type pages struct {
	// example contains the metrics that example/observed exports on a bus with a broker. gateway
	// contains the metrics that psrpc gateway exports.
	example, gateway string
}

// export runs example/observed and a gateway on Redis, and returns what they export.
func export(t *testing.T) pages {
	t.Helper()
	redis := testenv.Redis(t)
	var p pages
	var wg sync.WaitGroup
	wg.Go(func() {
		example := exec.CommandContext(t.Context(), "go", "run", "./example/observed", "-bus", redis.URL())
		example.Dir = root
		output, err := example.Output()
		assert.NoError(t, err)
		_, p.example, _ = strings.Cut(string(output), "The metrics for Prometheus:\n")
	})
	b, err := bus.Open(t.Context(), redis.URL())
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	serveGreeter(t, b)
	command := exec.CommandContext(t.Context(), psrpc(t), "gateway", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
	command.Env = environment("PSRPC_BUS=" + redis.URL())
	g := startGateway(t, command)
	call(t, g.announced["gateway"])
	p.gateway = get(t, g.announced["metrics"]) + "\n"
	g.stop(t)
	wg.Wait()
	require.NotEmpty(t, p.example)
	return p
}

// added contains the labels that Prometheus adds.
var added = []string{"job", "instance"}

// labels returns the names of the labels of each metric on the pages. A histogram is replaced by
// its parts, whose names end in _sum, _count and _bucket.
func (p pages) labels(t *testing.T) map[string][]string {
	t.Helper()
	labels := map[string][]string{}
	for _, page := range []string{p.example, p.gateway} {
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(page))
		require.NoError(t, err)
		for name, family := range families {
			keys := append([]string(nil), added...)
			for _, pair := range family.GetMetric()[0].GetLabel() {
				keys = append(keys, pair.GetName())
			}
			if family.GetType() != dto.MetricType_HISTOGRAM {
				labels[name] = keys
				continue
			}
			labels[name+"_sum"], labels[name+"_count"] = keys, keys
			labels[name+"_bucket"] = append(slices.Clip(keys), "le")
		}
	}
	return labels
}

var (
	selector = regexp.MustCompile(`([a-z_:]+)\{([^}]*)\}`)
	matcher  = regexp.MustCompile(`([a-z_]+)(=~|!~|!=|=)"[^"]*"`)
	grouping = regexp.MustCompile(`by \(([^)]*)\)`)
	ours     = regexp.MustCompile(`\b(rpc|dynpsrpc)_[a-z_]+`)
	space    = regexp.MustCompile(`[\s,]+`)
)

// checkMetrics checks that the metrics and the labels in a PromQL expression exist. labels contains
// the names of the labels of each metric. Each metric in the expression must be followed by braces.
func checkMetrics(t *testing.T, expression string, labels map[string][]string) {
	t.Helper()
	selectors := selector.FindAllStringSubmatch(expression, -1)
	assert.NotEmpty(t, selectors, "%s: no metric", expression)
	var all []string
	for _, s := range selectors {
		known, exists := labels[s[1]]
		assert.True(t, exists, "%s: nothing exports %s", expression, s[1])
		all = append(all, known...)
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			assert.Contains(t, known, m[1], "%s: %s has no such label", expression, s[1])
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expression, -1) {
		for _, label := range space.Split(strings.TrimSpace(g[1]), -1) {
			assert.Contains(t, all, label, "%s: no metric has such a label", expression)
		}
	}
	for _, name := range ours.FindAllString(selector.ReplaceAllString(expression, ""), -1) {
		assert.Contains(t, all, name, "%s: not a label, and not a metric followed by braces", expression)
	}
}
