package verbs_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

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
	announced := make(chan string, 1)
	env.Context, env.OnOutput = ctx, func(text string) { announced <- text }
	results := make(chan clitest.Result, 1)
	go func() {
		results <- clitest.Run(t, env, "", "gateway", "--listen", "127.0.0.1:0", "--methods", "greeting.Greeter/*")
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
	interrupt()
	clitest.Golden(t, "gateway", <-results, clitest.Replace(`127\.0\.0\.1:\d+`, "ADDRESS"))
}

func TestGateway_Refuses(t *testing.T) {
	t.Parallel()
	env := localEnv(t)
	for name, args := range map[string][]string{
		"gateway_everywhere":  {"--listen", "0.0.0.0:0"},
		"gateway_bad_pattern": {"--listen", "127.0.0.1:0", "--methods", "["},
		"gateway_no_methods":  {"--listen", "127.0.0.1:0", "--methods", ""},
	} {
		clitest.Golden(t, name, clitest.Run(t, env, "", append([]string{"gateway"}, args...)...))
	}
}
