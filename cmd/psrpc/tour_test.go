//go:build tools

package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write what the commands print into docs/operate.md")

const page = "../../docs/operate.md"

// step is a command that docs/operate.md shows, and the output that the page shows for it.
type step struct{ command, output string }

var blocks = regexp.MustCompile("(?s)```console\n(.*?)```")

// tour returns the steps in the console blocks of docs/operate.md.
func tour(t *testing.T) (steps []step) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	for _, block := range blocks.FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[1]) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				steps = append(steps, step{command: strings.TrimSpace(command)})
				continue
			}
			require.NotEmpty(t, steps, "a block begins with a command")
			steps[len(steps)-1].output += line
		}
	}
	require.NotEmpty(t, steps)
	return steps
}

// varying matches what differs from run to run: numbers, durations and digests.
var varying = regexp.MustCompile(`\b[0-9a-f]{8}\b|[<+-]?\d[\d,.:]*( ?(ms|µs|ns|[smhd](\d+[smhd])?)\b)?( %)?`)

// normal replaces what differs from run to run by N, and spaces in a row by one space.
func normal(output string) string {
	output = varying.ReplaceAllString(output, "N")
	return strings.TrimSpace(regexp.MustCompile(`[ \t]+`).ReplaceAllString(output, " "))
}

// The test runs the commands of the tour in docs/operate.md, in order. They must print what the
// page says, except for durations, rates, digests and the widths of columns.
func TestOperateDoc_Tour(t *testing.T) {
	t.Parallel()
	folder, bin := t.TempDir(), t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "psrpc"), ".")
	printed, err := build.CombinedOutput()
	require.NoError(t, err, "%s", printed)
	environment := append(os.Environ(),
		"PATH="+bin+":"+os.Getenv("PATH"), "HOME="+folder, "XDG_CONFIG_HOME="+folder, "XDG_CACHE_HOME="+folder)

	steps := tour(t)
	require.Equal(t, "psrpc up --servers 3 &", steps[0].command)
	url := startUp(t, filepath.Join(bin, "psrpc"), environment)
	environment = append(environment, "PSRPC_BUS="+url)
	for i := range steps[1:] {
		s := &steps[1+i]
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		command := exec.CommandContext(ctx, "bash", "-c", s.command)
		command.Dir, command.Env = folder, environment
		output, err := command.CombinedOutput() // the page shows the exit code of a failure
		cancel()
		if *update {
			s.output = usualAddresses(string(output), url)
			continue
		}
		assert.Equal(t, normal(s.output), normal(string(output)), "%s: %v\n%s", s.command, err, output)
	}
	if *update {
		rewrite(t, steps)
	}
	testREADMECall(t, environment)
}

// testREADMECall runs the call that README.md shows. It must print what the comment in README.md
// says.
func testREADMECall(t *testing.T, environment []string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	call := regexp.MustCompile(`(?m)^go run \./cmd/(psrpc call [^#]*)# prints (.*) \.\.\.`).FindSubmatch(text)
	require.NotNil(t, call, "README.md shows a call")
	command := exec.CommandContext(t.Context(), "bash", "-c", string(call[1]))
	command.Env = environment
	output, err := command.CombinedOutput()
	require.NoError(t, err, "%s", output)
	assert.True(t, bytes.HasPrefix(output, call[2]), "%s", output)
}

// rewrite puts the current output of the steps into the page.
func rewrite(t *testing.T, steps []step) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	next := 0
	rewritten := blocks.ReplaceAllStringFunc(string(text), func(block string) string {
		var lines strings.Builder
		for range strings.Count("\n"+block, "\n$ ") {
			fmt.Fprintf(&lines, "$ %s\n%s", steps[next].command, steps[next].output)
			next++
		}
		return "```console\n" + lines.String() + "```"
	})
	require.NoError(t, os.WriteFile(page, []byte(rewritten), 0o600))
}

// usualAddresses replaces the addresses of this run by the default addresses of psrpc up.
func usualAddresses(output, url string) string {
	broker, monitor, _ := strings.Cut(strings.TrimPrefix(url, "nats://"), "?monitor=http://")
	return strings.NewReplacer(broker, "127.0.0.1:8322", monitor, "127.0.0.1:8323").Replace(output)
}

// startUp runs psrpc up on free ports until the test ends, and returns the URL of its bus.
func startUp(t *testing.T, program string, environment []string) (url string) {
	t.Helper()
	up := exec.CommandContext(t.Context(), program, "up", "--listen", "127.0.0.1:0", "--monitor", "127.0.0.1:0", "--servers", "3")
	up.Env, up.Stderr = environment, os.Stderr
	up.Cancel = func() error { return up.Process.Signal(os.Interrupt) }
	stdout, err := up.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, up.Start())
	t.Cleanup(func() { _ = up.Wait() })
	buffer := make([]byte, 4096)
	n, err := stdout.Read(buffer)
	require.NoError(t, err)
	told := regexp.MustCompile(`PSRPC_BUS='([^']+)'`).FindSubmatch(buffer[:n])
	require.NotNil(t, told, "%s", buffer[:n])
	return string(told[1])
}
