package verbs_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/clitest"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/demo"
)

// browser opens links as a browser does.
type browser struct {
	t      *testing.T
	client *http.Client
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &browser{t, &http.Client{Jar: jar}}
}

// open sends a request and returns the status and the body. With a body, it is a POST request.
func (b *browser) open(link, body string) (status int, content string) {
	b.t.Helper()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	request, err := http.NewRequestWithContext(b.t.Context(), method, link, strings.NewReader(body))
	require.NoError(b.t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Psrpc-Explorer", "1")
	r, err := b.client.Do(request)
	require.NoError(b.t, err)
	defer r.Body.Close()
	read, err := io.ReadAll(r.Body)
	require.NoError(b.t, err)
	return r.StatusCode, string(read)
}

func TestExplorer_ServesThePages(t *testing.T) {
	t.Parallel()
	env := localEnv(t)
	d, err := demo.Start(env.Bus, 1, new(slog.LevelVar))
	require.NoError(t, err)
	t.Cleanup(d.Close)
	ctx, interrupt := context.WithCancel(t.Context())
	env.Context = ctx
	announced := announcement(&env, "http://")
	env.Vars = map[string]string{"PSRPC_EXPLORER_TOKEN": "a token of a test"}
	results := make(chan clitest.Result, 1)
	go func() { results <- clitest.Run(t, env, "", "explorer", "--listen", "127.0.0.1:0", "--read-only") }()
	link, err := url.Parse(strings.Fields(<-announced)[1])
	require.NoError(t, err)
	b := newBrowser(t)
	at := func(path string) string { return "http://" + link.Host + path }
	status, _ := b.open(at("/api/fleet"), "")
	assert.Equal(t, http.StatusUnauthorized, status)
	status, _ = b.open(link.String(), "")
	require.Equal(t, http.StatusOK, status)
	_, content := b.open(at("/api/fleet"), "")
	assert.Contains(t, content, "greeter-1")
	_, content = b.open(at("/api/who"), `{"method": "greeting.Greeter/Best", "request": {"name": "Ada"}}`)
	assert.Contains(t, content, `"selected":"greeter-1"`)
	status, _ = b.open(at("/rpc/greeting.Greeter/Hello"), `{"name": "Ada"}`)
	assert.Equal(t, http.StatusForbidden, status, "it is read-only")
	interrupt()
	clitest.Golden(t, "explorer", <-results, clitest.Replace(`127\.0\.0\.1:\d+`, "ADDRESS"))
}

// In a read-only context, the pages must change nothing, even if --yes permits the address.
func TestExplorer_ReadOnlyContext(t *testing.T) {
	t.Parallel()
	env := localEnv(t)
	folder := t.TempDir()
	config := "current: production\ncontexts:\n  production:\n    bus: redis://127.0.0.1:6379\n    readonly: true\n"
	require.NoError(t, os.MkdirAll(filepath.Join(folder, "psrpc"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "psrpc", "config.yaml"), []byte(config), 0o600))
	ctx, interrupt := context.WithCancel(t.Context())
	env.Context = ctx
	announced := announcement(&env, "readOnly")
	env.Vars = map[string]string{"XDG_CONFIG_HOME": folder}
	results := make(chan clitest.Result, 1)
	go func() {
		results <- clitest.Run(t, env, "", "explorer", "--listen", "127.0.0.1:0", "--yes", "-o", "json")
	}()
	assert.Regexp(t, `"readOnly": ?true`, <-announced)
	interrupt()
	assert.Zero(t, (<-results).Exit)
}

func TestExplorer_Refuses(t *testing.T) {
	t.Parallel()
	env := localEnv(t)
	clitest.Golden(t, "explorer_everywhere", clitest.Run(t, env, "", "explorer", "--listen", "0.0.0.0:0"))
	env.Vars = map[string]string{"PSRPC_EXPLORER_TOKEN": "short"}
	clitest.Golden(t, "explorer_short_token", clitest.Run(t, env, "", "explorer", "--listen", "127.0.0.1:0"))
}

func TestUp_ServesTheExplorer(t *testing.T) {
	t.Parallel()
	announcement, stop := startUp(t)
	defer stop()
	_, link, _ := strings.Cut(announcement, "explorer ")
	link, _, _ = strings.Cut(link, "\n")
	b := newBrowser(t)
	status, _ := b.open(link, "")
	require.Equal(t, http.StatusOK, status)
	base, _, _ := strings.Cut(link, "?")
	status, content := b.open(base, "")
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, content, "<html")
	_, content = b.open(base+"rpc/greeting.Greeter/Hello", `{"name": "Ada"}`)
	assert.Contains(t, content, "Hello, Ada")
}
