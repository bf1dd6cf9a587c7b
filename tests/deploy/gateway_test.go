package deploy

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

// gateway is a process of psrpc gateway.
type gateway struct {
	command *exec.Cmd
	// announced contains the lines that the process printed when it began to serve. They show the
	// URLs of the gateway and of the metrics, and the methods. The key is the first word of a line,
	// and the value is the rest.
	announced map[string]string
	stderr    *safeBuffer
}

// safeBuffer is a buffer that may be read while a process writes to it.
type safeBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// startGateway starts a process and waits until it serves. The process is killed when the test
// ends, unless stop has ended it.
func startGateway(t *testing.T, command *exec.Cmd) *gateway {
	t.Helper()
	g := &gateway{command: command, announced: map[string]string{}, stderr: &safeBuffer{}}
	command.Stderr = g.stderr
	stdout, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	t.Cleanup(func() { _ = command.Process.Kill() })
	lines := bufio.NewScanner(stdout)
	for !hasAnnounced(g.announced, command.Args) {
		if !lines.Scan() {
			t.Fatalf("psrpc gateway has ended: %v\n%s", command.Wait(), g.stderr)
		}
		word, rest, _ := strings.Cut(lines.Text(), " ")
		g.announced[word] = strings.TrimSpace(rest)
	}
	return g
}

// hasAnnounced reports whether a process has printed all lines that are expected with its
// arguments.
func hasAnnounced(announced map[string]string, args []string) bool {
	_, metrics := announced["metrics"]
	_, methods := announced["methods"]
	return methods && (metrics || !strings.Contains(strings.Join(args, " "), "--metrics"))
}

// stop ends the process as systemd and Kubernetes do.
func (g *gateway) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, g.command.Process.Signal(syscall.SIGTERM))
	timer := time.AfterFunc(20*time.Second, func() { _ = g.command.Process.Kill() })
	defer timer.Stop()
	assert.NoError(t, g.command.Wait(), "%s", g.stderr)
}

// call calls greeting.Greeter/Hello through a gateway. It repeats the call until it succeeds,
// because on a busy machine the gateway may find the service late.
func call(t *testing.T, url string) {
	t.Helper()
	testkit.Eventually(t, func() bool {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/greeting.Greeter/Hello", strings.NewReader(`"Ada"`))
		assert.NoError(t, err)
		request.Header.Set("Content-Type", "application/json")
		status, body, err := fetch(request)
		return err == nil && status == http.StatusOK && body == `"Hello, Ada"`
	}, "the service answers through the gateway")
}

// get sends a GET request and returns the body of the response.
func get(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	status, body, err := fetch(request)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status, "%s", body)
	return body
}

func fetch(request *http.Request) (status int, body string, err error) {
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return response.StatusCode, strings.TrimSpace(string(content)), err
}

// environment returns the environment of this process with additional variables.
func environment(more ...string) []string { return append(os.Environ(), more...) }
