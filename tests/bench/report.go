package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// markdown formats the results as Markdown. For each size, there is one table for calls and streams
// and one for updates. The errors follow.
func (all *results) markdown() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s, %s on %s with %d processors; medians of %d rounds of %s.\n", all.Date.Format(time.DateOnly),
		all.Go, all.System, all.Processors, all.rounds(), all.PerRow)
	var sizes []string
	for _, r := range all.Rows {
		if !slices.Contains(sizes, r.Size) {
			sizes = append(sizes, r.Size)
		}
	}
	for _, size := range sizes {
		all.table(&text, "Calls and streams, "+size, callColumns, func(r *result) bool { return r.Size == size && !r.updates() })
		all.table(&text, "Updates, "+size, updateColumns, func(r *result) bool { return r.Size == size && r.updates() })
	}
	for _, r := range all.Rows {
		for _, problem := range r.Errors {
			fmt.Fprintf(&text, "\n%s/%s/%s: %s\n", r.Bus, r.Size, r.Name, problem)
		}
	}
	return text.String()
}

func (all *results) rounds() int {
	rounds := 0
	for _, r := range all.Rows {
		rounds = max(rounds, len(r.Rounds))
	}
	return rounds
}

// updates reports whether the benchmark measures updates.
func (r *result) updates() bool { return strings.Contains(r.Name, "pub") }

// column is a column of figures in a table. It is printed to the right of the columns that identify
// the row.
type column struct {
	title string
	cell  func(r *result) string
}

var callColumns = []column{
	{"per second", func(r *result) string { return count(r.Median.PerSecond) }},
	{"p50", func(r *result) string { return duration(r.Median.P50) }},
	{"p99", func(r *result) string { return duration(r.Median.P99) }},
	{"lost %", func(r *result) string { return fmt.Sprintf("%.2f", r.Median.Lost) }},
	{"allocs", func(r *result) string { return fmt.Sprintf("%.1f", r.Median.Allocs) }},
	{"bytes", func(r *result) string { return fmt.Sprintf("%.0f", r.Median.Bytes) }},
	{"CPU µs", func(r *result) string { return fmt.Sprintf("%.1f", r.Median.CPU) }},
	{"ratio", ratios},
}

var updateColumns = []column{
	{"published/s", func(r *result) string { return count(r.Median.PerSecond) }},
	{"delivered/s", func(r *result) string { return count(r.Median.Delivered) }},
	{"lost %", func(r *result) string { return fmt.Sprintf("%.2f", r.Median.Lost) }},
	{"allocs", func(r *result) string { return fmt.Sprintf("%.1f", r.Median.Allocs) }},
	{"bytes", func(r *result) string { return fmt.Sprintf("%.0f", r.Median.Bytes) }},
	{"CPU µs", func(r *result) string { return fmt.Sprintf("%.1f", r.Median.CPU) }},
	{"ratio", ratios},
}

func (all *results) table(text *strings.Builder, title string, columns []column, chosen func(r *result) bool) {
	var lines [][]string
	for _, r := range all.Rows {
		if !chosen(r) {
			continue
		}
		cells := []string{r.Bus, string(r.System), r.Name}
		for _, c := range columns {
			cells = append(cells, c.cell(r))
		}
		lines = append(lines, cells)
	}
	if lines == nil {
		return
	}
	head := []string{"bus", "system", "row"}
	for _, c := range columns {
		head = append(head, c.title)
	}
	rule := slices.Repeat([]string{"---"}, len(head))
	fmt.Fprintf(text, "\n## %s\n\n", title)
	for _, cells := range slices.Concat([][]string{head, rule}, lines) {
		fmt.Fprintf(text, "| %s |\n", strings.Join(cells, " | "))
	}
}

func ratios(r *result) string {
	var parts []string
	for _, ratio := range r.Ratios {
		part := fmt.Sprintf("%.3g of %s", ratio.Median, ratio.To)
		if ratio.ToLost > 0 {
			part += fmt.Sprintf(" (loses %.3g %%)", ratio.ToLost)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

func count(n float64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.2fM", n/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%.1fk", n/1e3)
	case n >= 100:
		return fmt.Sprintf("%.0f", n)
	}
	return fmt.Sprintf("%.1f", n)
}

func duration(ns float64) string {
	switch {
	case ns >= 1e6:
		return fmt.Sprintf("%.2f ms", ns/1e6)
	case ns >= 1e5:
		return fmt.Sprintf("%.0f µs", ns/1e3)
	case ns >= 1e3:
		return fmt.Sprintf("%.2f µs", ns/1e3)
	}
	return fmt.Sprintf("%.0f ns", ns)
}
