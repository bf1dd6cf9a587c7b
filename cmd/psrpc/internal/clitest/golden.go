package clitest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// Golden compares a result with the file testdata/NAME.golden in the directory of the test. With
// the flag -update, it writes the file instead. The functions in normalise replace text that
// differs from run to run, such as durations and IDs.
func Golden(tb testing.TB, name string, result Result, normalise ...func(string) string) {
	tb.Helper()
	for _, f := range normalise {
		result.Stdout, result.Stderr = f(result.Stdout), f(result.Stderr)
	}
	got := result.Stdout
	if result.Stderr != "" {
		got += "--- stderr\n" + result.Stderr
	}
	got += fmt.Sprintf("--- exit %d\n", result.Exit)
	path := filepath.Join("testdata", name+".golden")
	if *update {
		require.NoError(tb, os.MkdirAll(filepath.Dir(path), 0o750))
		require.NoError(tb, os.WriteFile(path, []byte(got), 0o600))
		return
	}
	want, err := os.ReadFile(path) //nolint:gosec // a file of the test
	require.NoError(tb, err, "go test -update creates the file")
	assert.Equal(tb, string(want), got, "go test -update accepts a change of %s", path)
}

// Patient adds the parameter probe_interval to the URL of a bus. Without it, the bus logs that it is
// disconnected if the broker answers late, as on a busy machine.
func Patient(busURL string) string {
	separator := "?"
	if strings.Contains(busURL, "?") {
		separator = "&"
	}
	return busURL + separator + "probe_interval=1m"
}

// DropLateAnswers removes the log lines of a bus whose broker has answered late. It is meant for
// tests that cannot choose the URL of the bus; see [Patient].
func DropLateAnswers(text string) string { return lateAnswer.ReplaceAllString(text, "") }

var lateAnswer = regexp.MustCompile(`(?m)^level=WARN msg="(nats|redis) bus (disconnected|dropped frames)".*\n`)

// Sorted sorts the lines of a text, for output whose order differs from run to run.
func Sorted(text string) string {
	lines := strings.SplitAfter(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// Replace returns a function for Golden that replaces each match of a regular expression.
func Replace(expression, replacement string) func(string) string {
	pattern := regexp.MustCompile(expression)
	return func(text string) string { return pattern.ReplaceAllString(text, replacement) }
}

// Durations replaces durations such as 0.8 ms, 57µs and 2m30s, and the spaces after them, by TIME.
func Durations(text string) string {
	return duration.ReplaceAllString(text, "TIME")
}

var duration = regexp.MustCompile(`-?\b\d+(\.\d+)?( ms| s| ns|µs|ms|s|m|h)(\d+(\.\d+)?(m|s|ms))*\b`)

// IDs replaces the IDs of servers and clients, such as SRV_7hXkQ2mVbN1a, by SRV_1, SRV_2 and so on,
// in the order in which they appear.
func IDs(text string) string {
	seen := map[string]string{}
	return id.ReplaceAllStringFunc(text, func(found string) string {
		if seen[found] == "" {
			kind, _, _ := strings.Cut(found, "_")
			seen[found] = fmt.Sprintf("%s_%d", kind, len(seen)+1)
		}
		return seen[found]
	})
}

var id = regexp.MustCompile(`\b(SRV|CLI)_[A-Za-z0-9]{8,}\b`)
