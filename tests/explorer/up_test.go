package explorer

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The link that psrpc up prints must lead to pages on which a user can try the example. Unlike the
// explorers of other tests, this one is served below a path, and its bus asks the broker which
// subjects have subscribers.
func TestUp(t *testing.T) {
	t.Parallel()
	link := up(t)
	p := newPage(t)
	p.open(link)
	p.shows("greeter-1")
	p.isAccessible("fleet of psrpc up")
	p.click("link", "greeting.Greeter")
	p.click("link", "Hello")
	p.fill("textbox", "name", "Ada")
	p.click("button", "Call")
	p.shows(`"text": "Hello, Ada"`)

	p.visit("#/method/greeting.Greeter/News")
	p.has("heading", "News")
	p.click("button", "Subscribe")
	p.shows("greetings so far")
	p.click("button", "Unsubscribe")
	p.visit("#/method/greeting.Greeter/Chat")
	p.has("heading", "Chat")
	p.click("button", "Open stream")
	p.has("button", "Send message")
	p.fill("textbox", "name", "Grace")
	p.click("button", "Send message")
	p.shows("Hello, Grace")
	p.click("button", "Close")

	p.visit("#/doctor")
	p.has("button", "Check again")
	p.shows("checks passed")
	p.isAccessible("doctor of psrpc up")
}

// up runs the command psrpc up until the test ends, and returns the link of its explorer.
func up(t testing.TB) (link string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "psrpc")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/psrpc")
	build.Dir = "../.."
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)
	// The context of the test ends before the page is closed, and the page must not lose its server.
	command := exec.CommandContext(context.WithoutCancel(t.Context()), program, "up", "-o", "json",
		"--listen", "127.0.0.1:0", "--monitor", "127.0.0.1:0", "--http", "127.0.0.1:0")
	command.Env = append(os.Environ(), "HOME="+t.TempDir())
	stdout, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Signal(os.Interrupt)
		_ = command.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	require.NoError(t, err)
	var started struct {
		Explorer string `json:"explorer"`
	}
	require.NoError(t, json.Unmarshal(line, &started), "%s", line)
	return started.Explorer
}
