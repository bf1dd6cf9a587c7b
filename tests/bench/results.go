package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// results holds the results of one run of the program. It is the content of the file written by
// -json.
type results struct {
	Date       time.Time     `json:"date"`
	Go         string        `json:"go"`
	System     string        `json:"system"`
	Processors int           `json:"processors"`
	PerRow     time.Duration `json:"time_per_row_ns"`
	Rows       []*result     `json:"rows"`
}

// result holds the results of one benchmark.
type result struct {
	Bus    string        `json:"bus"`
	Size   string        `json:"size"`
	Name   string        `json:"name"`
	System system        `json:"system"`
	Rounds []measurement `json:"rounds"`
	Median measurement   `json:"median"`
	Ratios []ratio       `json:"ratios,omitempty"`
	// Errors has one entry for each round in which operations failed.
	Errors []string `json:"errors,omitempty"`

	row *row
}

// ratio compares the rate of a benchmark with the rate of the benchmark named To, which has the
// same bus and message size. In each round, the former is divided by the latter. Median is the
// median of these ratios over all rounds.
type ratio struct {
	To     string  `json:"to"`
	Median float64 `json:"median"`
	// ToLost is the median of the field Lost in the measurements of the benchmark named To.
	ToLost float64 `json:"to_lost_percent"`
}

func newResults(rows []*row, perRow time.Duration) *results {
	all := &results{
		Date: time.Now().UTC(), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH,
		Processors: runtime.NumCPU(), PerRow: perRow,
	}
	for _, r := range rows {
		all.Rows = append(all.Rows, &result{Bus: r.bus, Size: r.size.name, Name: r.name, System: r.system, row: r})
	}
	return all
}

// add appends the measurement of a round. If operations failed, err describes the failures and is
// recorded as well. m then covers the operations that completed.
func (r *result) add(m measurement, err error) {
	r.Rounds = append(r.Rounds, m)
	if err != nil {
		r.Errors = append(r.Errors, fmt.Sprintf("round %d, %.0f operations failed: %v", len(r.Rounds), m.Failed, err))
	}
}

// failure returns an error that names all benchmarks in which operations failed, or nil if there
// are none. It does not name those of psrpc, which loses messages under load.
func (all *results) failure() error {
	var failed []string
	for _, r := range all.Rows {
		if len(r.Errors) > 0 && r.System != onPSRPC {
			failed = append(failed, r.Bus+"/"+r.Size+"/"+r.Name)
		}
	}
	if failed == nil {
		return nil
	}
	return errors.New("something failed in " + strings.Join(failed, ", "))
}

// summarize computes the medians and the ratios of each benchmark.
func (all *results) summarize() {
	byKey := map[string]*result{}
	for _, r := range all.Rows {
		byKey[r.row.key()] = r
		r.Median = medians(r.Rounds)
	}
	for _, r := range all.Rows {
		for _, name := range r.row.limits {
			if limit := byKey[r.row.keyOf(name)]; limit != nil {
				r.Ratios = append(r.Ratios, ratio{To: name, Median: r.ratioTo(limit), ToLost: limit.Median.Lost})
			}
		}
	}
}

// ratioTo divides the rate of r by the rate of limit in each round, and returns the median of these
// ratios. It skips rounds in which the rate of limit is 0.
func (r *result) ratioTo(limit *result) float64 {
	var ratios []float64
	for i := range min(len(r.Rounds), len(limit.Rounds)) {
		if rate := limit.Rounds[i].rate(); rate > 0 {
			ratios = append(ratios, r.Rounds[i].rate()/rate)
		}
	}
	return median(ratios)
}

func medians(rounds []measurement) measurement {
	var result measurement
	for i, field := range result.fields() {
		var values []float64
		for _, round := range rounds {
			values = append(values, *round.fields()[i])
		}
		*field = median(values)
	}
	return result
}

// median returns the median of values, or 0 if values is empty. It sorts values in place.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	middle := len(values) / 2
	if len(values)%2 == 1 {
		return values[middle]
	}
	return (values[middle-1] + values[middle]) / 2
}

func (all *results) write(name string) error {
	encoded, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(encoded, '\n'), 0o600)
}

// readResults reads results from a file that the method write has created.
func readResults(name string) (*results, error) {
	encoded, err := os.ReadFile(name) //nolint:gosec // the user passes the name as a flag
	if err != nil {
		return nil, err
	}
	all := new(results)
	return all, json.Unmarshal(encoded, all)
}
