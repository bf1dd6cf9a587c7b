package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// agreement is the maximum relative difference between the figures of psrpc bench and those of this
// program.
const agreement = 0.1

// toolRow is a benchmark that psrpc bench, a command of dynpsrpc's command line, can run too. The
// servers run in this process. The callers run in a child process, which runs either this program
// with the flag -drive or psrpc bench.
type toolRow struct {
	row
	// serve starts the servers.
	serve func(s *scene)
	// method is the name of the method, and args contains the arguments of psrpc bench that follow it.
	method string
	args   []string
}

// toolRows returns the benchmarks that psrpc bench can run, too.
func toolRows() []*toolRow {
	var rows []*toolRow
	for _, bus := range []string{onNATS, onRedis} {
		add := func(name, method string, open func(s *scene) load, serve func(s *scene), args ...string) {
			rows = append(rows, &toolRow{
				row: row{bus: bus, size: small, name: name, open: open}, serve: serve, method: method, args: args,
			})
		}
		serving := func(servers int, handlers dynamic.Handlers) func(s *scene) {
			return func(s *scene) {
				for range servers {
					s.serve(handlers)
				}
			}
		}
		for _, n := range []int{1, 64} {
			add(fmt.Sprintf("queue/c%d", n), service+queue,
				func(s *scene) load { return s.calls(queueCall, 1, n) },
				serving(1, dynamic.Handlers{queue: dynamic.Unary(echo)}), "-c", strconv.Itoa(n))
		}
		add("affinity-first-3srv/c1", service+affinity,
			func(s *scene) load { return s.calls(firstCall, 3, 1) },
			serving(3, dynamic.Handlers{affinity: dynamic.Unary(echo)}), "--first")
		for _, n := range []int{1, 16} {
			add(fmt.Sprintf("multi3/c%d", n), service+multi,
				func(s *scene) load { return s.multiCalls(3, n) },
				serving(3, dynamic.Handlers{multi: dynamic.Unary(echo)}), "-c", strconv.Itoa(n))
			add(fmt.Sprintf("stream/echo/s%d", n), service+flow,
				func(s *scene) load { return s.echoes(n) },
				serving(1, dynamic.Handlers{flow: dynamic.Stream(echoStream)}), "--echo", "-c", strconv.Itoa(n))
		}
		add("pub/multi1/win1", feeds+news,
			func(s *scene) load { return s.updates(newFeed(1, 1), news, 1) }, func(*scene) {})
	}
	return rows
}

// driven is what a process with the flag -drive prints.
type driven struct {
	Measurement measurement `json:"measurement"`
	Error       string      `json:"error,omitempty"`
}

// drive runs the callers of the benchmark that the flag -drive names, and prints the measurement.
// The servers run in the parent process.
func drive(s *settings) error {
	for _, r := range toolRows() {
		if r.key() != s.drive {
			continue
		}
		r.clientOnly = true
		m, err := measureRow(&r.row, &brokers{urls: map[string]string{r.bus: s.url}}, s.perRow, profiles{})
		result := driven{Measurement: m}
		if err != nil {
			result.Error = err.Error()
		}
		return json.NewEncoder(os.Stdout).Encode(result)
	}
	return errors.New("no such row: " + s.drive)
}

// compareWithTool runs each chosen benchmark with this program and with psrpc bench in turns, and
// prints a table. It returns an error if the figures differ by more than 10 %.
func compareWithTool(s *settings) error {
	rows := toolRows()
	plain := make([]*row, len(rows))
	for i, r := range rows {
		plain[i] = &r.row
	}
	chosen, err := s.choose(plain)
	if err != nil {
		return err
	}
	rows = keep(rows, chosen)
	var differing []string
	failure := onStage(func(stage *stage) {
		brokers := startBrokers(stage, chosen)
		protoFile := filepath.Join(stage.TempDir(), "bench.proto")
		source, err := protos.ReadFile("bench.proto")
		stage.check(errors.Join(err, os.WriteFile(protoFile, source, 0o600)))
		fmt.Println("| row | per second | psrpc bench | ratio | p50 | psrpc bench | ratio |\n| --- | --- | --- | --- | --- | --- | --- |")
		for _, r := range rows {
			c, err := s.compare(r, brokers, protoFile)
			stage.check(err)
			fmt.Println(c)
			if !c.agrees() {
				differing = append(differing, r.key())
			}
		}
	})
	if failure == nil && differing != nil {
		failure = fmt.Errorf("the figures of psrpc bench differ by more than %.0f %% in %s", 100*agreement, strings.Join(differing, ", "))
	}
	return failure
}

// keep returns the elements of rows that are chosen.
func keep(rows []*toolRow, chosen []*row) []*toolRow {
	isChosen := map[*row]bool{}
	for _, r := range chosen {
		isChosen[r] = true
	}
	var kept []*toolRow
	for _, r := range rows {
		if isChosen[&r.row] {
			kept = append(kept, r)
		}
	}
	return kept
}

// comparison holds the figures of one benchmark, as medians over all rounds.
type comparison struct {
	key                     string
	here, there             measurement
	rateRatio, latencyRatio float64
}

func (c *comparison) agrees() bool {
	within := func(ratio float64) bool { return ratio > 1-agreement && ratio < 1+agreement }
	return within(c.rateRatio) && within(c.latencyRatio)
}

// String returns a row of the table.
func (c *comparison) String() string {
	return fmt.Sprintf("| %s | %s | %s | %.3f | %s | %s | %.3f |", c.key,
		count(c.here.PerSecond), count(c.there.PerSecond), c.rateRatio,
		duration(c.here.P50), duration(c.there.P50), c.latencyRatio)
}

// compare runs one benchmark.
func (s *settings) compare(r *toolRow, brokers *brokers, protoFile string) (*comparison, error) {
	c := &comparison{key: r.key()}
	var here, there []measurement
	var rates, latencies []float64
	err := onStage(func(stage *stage) {
		scene := &scene{stage: stage, brokers: brokers, row: &r.row}
		r.serve(scene)
		url := brokers.urls[r.bus]
		for round := range s.rounds {
			var own, tool measurement
			first := func() (err error) {
				own, err = runDrive(s, r, url)
				return err
			}
			second := func() (err error) {
				tool, err = runTool(s, r, url, protoFile, scene.body(0))
				return err
			}
			// Each of the two programs runs first in half of the rounds.
			if round%2 == 1 {
				first, second = second, first
			}
			stage.check(first())
			stage.check(second())
			here, there = append(here, own), append(there, tool)
			rates = append(rates, tool.PerSecond/own.PerSecond)
			latencies = append(latencies, latencyRatio(&tool, &own))
		}
	})
	c.here, c.there, c.rateRatio, c.latencyRatio = medians(here), medians(there), median(rates), median(latencies)
	return c, err
}

// latencyRatio returns the ratio of the medians, or 1 if the benchmark measures no latencies.
func latencyRatio(tool, own *measurement) float64 {
	if own.P50 == 0 {
		return 1
	}
	return tool.P50 / own.P50
}

// runDrive runs the callers of a benchmark in a child process, which runs this program.
func runDrive(s *settings, r *toolRow, url string) (measurement, error) {
	program, err := os.Executable()
	if err != nil {
		return measurement{}, err
	}
	var result driven
	err = output(&result, program, "-drive", r.key(), "-url", url, "-time", s.perRow.String())
	if err == nil && result.Error != "" {
		err = errors.New(r.key() + ": " + result.Error)
	}
	return result.Measurement, err
}

// runTool runs the callers of a benchmark in psrpc bench.
func runTool(s *settings, r *toolRow, url, protoFile, body string) (measurement, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return measurement{}, err
	}
	args := []string{
		"bench", r.method, string(data), "-p", protoFile, "--bus", url, "-o", "json", "-q",
		"--for", s.perRow.String(), "--warm-up", min(s.perRow/4, time.Second/4).String(),
	}
	var report struct {
		Completed float64 `json:"completed"`
		Failed    float64 `json:"failed"`
		PerSecond float64 `json:"per_second"`
		Error     string  `json:"first_error"`
		Latency   struct {
			P50 float64 `json:"p50_ns"`
			P99 float64 `json:"p99_ns"`
		} `json:"latency"`
	}
	err = output(&report, s.tool, append(args, r.args...)...)
	if err == nil && report.Error != "" {
		err = errors.New(r.key() + ": " + report.Error)
	}
	return measurement{
		Operations: report.Completed, Failed: report.Failed, PerSecond: report.PerSecond,
		P50: report.Latency.P50, P99: report.Latency.P99,
	}, err
}

// output runs a program and decodes the JSON that it prints.
func output(result any, program string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, program, args...) //nolint:gosec // the programs are given by the user
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, stderr.String())
	}
	return json.Unmarshal(stdout.Bytes(), result)
}
