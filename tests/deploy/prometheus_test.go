package deploy

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	strict "sigs.k8s.io/yaml"
)

// ruleFile is a file with alert rules.
type ruleFile struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []struct {
			Alert string `json:"alert"`
			Expr  string `json:"expr"`
		} `json:"rules"`
	} `json:"groups"`
}

// testFile is a file with tests for promtool.
type testFile struct {
	Tests []struct {
		AlertTests []struct {
			Alert  string `json:"alertname"`
			Alerts []any  `json:"exp_alerts"`
		} `json:"alert_rule_test"`
	} `json:"tests"`
}

func readAlerts(t *testing.T) (alerts map[string]string) {
	t.Helper()
	var rules ruleFile
	require.NoError(t, strict.Unmarshal(read(t, "prometheus/alerts.yaml"), &rules))
	alerts = map[string]string{}
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			alerts[rule.Alert] = rule.Expr
		}
	}
	require.NotEmpty(t, alerts)
	return alerts
}

// The tests beside the alert rules must pass. For each alert, there must be a test in which it
// fires and one in which it does not.
func TestAlerts_PassTheirTests(t *testing.T) {
	t.Parallel()
	promtool, folder := tool(t, "promtool"), filepath.Join(root, "deploy", "prometheus")
	run(t, promtool, "check", "rules", filepath.Join(folder, "alerts.yaml"))
	t.Log(run(t, promtool, "test", "rules", filepath.Join(folder, "alerts_test.yaml")))
	var tests testFile
	require.NoError(t, strict.Unmarshal(read(t, "prometheus/alerts_test.yaml"), &tests))
	fires, rests := map[string]bool{}, map[string]bool{}
	for _, test := range tests.Tests {
		for _, alert := range test.AlertTests {
			fires[alert.Alert] = fires[alert.Alert] || len(alert.Alerts) > 0
			rests[alert.Alert] = rests[alert.Alert] || len(alert.Alerts) == 0
		}
	}
	for alert := range readAlerts(t) {
		assert.True(t, fires[alert], "no test in which %s fires", alert)
		assert.True(t, rests[alert], "no test in which %s does not fire", alert)
	}
}

// panel is a panel of the dashboard, or a row of panels.
type panel struct {
	Title   string `json:"title"`
	Targets []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
}

// readDashboard returns the expressions of the dashboard. Each key consists of the titles of a row
// and a panel. It replaces the variables of Grafana with values.
func readDashboard(t *testing.T) (expressions map[string][]string) {
	t.Helper()
	var dashboard struct {
		Panels []panel `json:"panels"`
	}
	require.NoError(t, json.Unmarshal(read(t, "grafana/dynpsrpc.json"), &dashboard))
	variables := strings.NewReplacer("$__rate_interval", "1m", "$job", ".*", "$instance", ".*", "$method", ".*")
	expressions = map[string][]string{}
	row := ""
	for _, p := range dashboard.Panels {
		if len(p.Targets) == 0 {
			row = p.Title
		}
		for _, target := range p.Targets {
			title := row + ": " + p.Title
			expressions[title] = append(expressions[title], variables.Replace(target.Expr))
		}
	}
	require.NotEmpty(t, expressions)
	return expressions
}

// Programs must export every metric and every label that the alert rules and the dashboard use. A
// Prometheus that collects them must have data for every panel.
func TestMetrics_OfAlertsAndDashboardExist(t *testing.T) {
	t.Parallel()
	exported := export(t)
	labels := exported.labels(t)
	for alert, expression := range readAlerts(t) {
		t.Run(alert, func(t *testing.T) { checkMetrics(t, expression, labels) })
	}
	dashboard := readDashboard(t)
	for _, expressions := range dashboard {
		for _, expression := range expressions {
			checkMetrics(t, expression, labels)
		}
	}
	p := startPrometheus(t, exported)
	for title, expressions := range dashboard {
		for _, expression := range expressions {
			// Prometheus can compute a rate only after it has collected the metrics twice.
			p.await(t, expression, func(results int) bool { return results > 0 }, title)
		}
	}
	p.await(t, `ALERTS{}`, func(results int) bool { return results == 0 }, "no alert fires for programs that are whole")
}

// prometheus is a running Prometheus.
type prometheus struct{ url string }

// startPrometheus starts a Prometheus that collects pages every second and evaluates the alert
// rules.
func startPrometheus(t *testing.T, exported pages) prometheus {
	t.Helper()
	var targets []string
	for _, page := range []string{exported.example, exported.gateway} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			_, _ = w.Write([]byte(page))
		}))
		t.Cleanup(server.Close)
		targets = append(targets, strings.TrimPrefix(server.URL, "http://"))
	}
	folder := t.TempDir()
	rules, err := filepath.Abs(filepath.Join(root, "deploy", "prometheus", "alerts.yaml"))
	require.NoError(t, err)
	config := fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: shop
    static_configs: [{targets: [%q, %q]}]
`, rules, targets[0], targets[1])
	file := filepath.Join(folder, "prometheus.yml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	command := exec.CommandContext(t.Context(), tool(t, "prometheus"), "--config.file="+file, "--storage.tsdb.path="+filepath.Join(folder, "data"),
		"--web.listen-address="+address, "--log.level=warn")
	output := &safeBuffer{}
	command.Stdout, command.Stderr = output, output
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Signal(syscall.SIGTERM)
		_ = command.Wait()
		if t.Failed() {
			t.Logf("prometheus: %s", output)
		}
	})
	return prometheus{"http://" + address}
}

// await evaluates an expression repeatedly until isWanted returns true for the number of results.
func (p prometheus) await(t *testing.T, expression string, isWanted func(results int) bool, about string) {
	t.Helper()
	results, problem := 0, error(nil)
	assert.Eventually(t, func() bool {
		results, problem = p.query(expression)
		return problem == nil && isWanted(results)
	}, time.Minute, 200*time.Millisecond, about)
	assert.True(t, problem == nil && isWanted(results), "%s: %s has %d results: %v", about, expression, results, problem)
}

func (p prometheus) query(expression string) (results int, err error) {
	response, err := http.Get(p.url + "/api/v1/query?query=" + url.QueryEscape(expression)) //nolint:noctx // it is local
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var answer struct {
		Error string `json:"error"`
		Data  struct {
			Result []any `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if answer.Error != "" {
		return 0, fmt.Errorf("%s", answer.Error)
	}
	return len(answer.Data.Result), nil
}
