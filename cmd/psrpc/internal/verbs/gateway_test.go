package verbs_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/clitest"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/demo"
)

func TestGateway_ServesWhatServersTell(t *testing.T) {
	t.Parallel()
	env := localEnv(t)
	d, err := demo.Start(env.Bus, 1, new(slog.LevelVar))
	require.NoError(t, err)
	t.Cleanup(d.Close)
	ctx, interrupt := context.WithCancel(t.Context())
	env.Context = ctx
	announced := announcement(&env, "http://")
	results := make(chan clitest.Result, 1)
	go func() {
		results <- clitest.Run(t, env, "", "gateway", "--listen", "127.0.0.1:0", "--methods", "greeting.Greeter/*", "--access-log")
	}()
	url := strings.Fields(<-announced)[1]
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/greeting.Greeter/Hello", strings.NewReader(`{"name": "Ada"}`))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	r, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	assert.JSONEq(t, `{"text": "Hello, Ada", "tags": {"server": "greeter-1"}}`, string(body))
	request.Host = "rebound.example"
	request.Body, err = request.GetBody()
	require.NoError(t, err)
	r, err = http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	assert.Equal(t, http.StatusMisdirectedRequest, r.StatusCode, "only names of this machine lead to it")
	news, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/greeting.Greeter/News", nil)
	require.NoError(t, err)
	news.Header.Set("Accept", "text/event-stream")
	r, err = http.DefaultClient.Do(news)
	require.NoError(t, err)
	defer r.Body.Close()
	interrupted := time.Now()
	interrupt()
	result := <-results
	assert.Contains(t, result.Stderr, `"path":"/greeting.Greeter/Hello","status":200`)
	result.Stderr = ""
	clitest.Golden(t, "gateway", result, clitest.Replace(`127\.0\.0\.1:\d+`, "ADDRESS"))
	assert.Less(t, time.Since(interrupted), 15*time.Second, "an open subscription does not delay the end")
}

// Without --yes, psrpc up must refuse addresses that other machines can reach.
func TestUp_RefusesToListenEverywhere(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--listen", "--monitor", "--http"} {
		args := []string{"up", "--listen", "127.0.0.1:0", "--monitor", "127.0.0.1:0", "--http", "127.0.0.1:0", flag, "0.0.0.0:0"}
		result := clitest.Run(t, clitest.Env{}, "", args...)
		assert.Equal(t, 2, result.Exit, flag)
		assert.Contains(t, result.Stderr, flag+" 0.0.0.0:0")
	}
}

func TestGateway_Refuses(t *testing.T) {
	t.Parallel()
	env := localEnv(t)
	for name, args := range map[string][]string{
		"gateway_everywhere":         {"--listen", "0.0.0.0:0"},
		"gateway_metrics_everywhere": {"--listen", "127.0.0.1:0", "--metrics", ":0"},
		"gateway_bad_pattern":        {"--listen", "127.0.0.1:0", "--methods", "["},
		"gateway_no_methods":         {"--listen", "127.0.0.1:0", "--methods", ""},
	} {
		clitest.Golden(t, name, clitest.Run(t, env, "", append([]string{"gateway"}, args...)...))
	}
}
