package verbs_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/clitest"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/demo"
)

// systemdSocket listens as systemd does. It returns the value of NOTIFY_SOCKET, and a function that
// returns the next state that a process reports.
func systemdSocket(t *testing.T) (path string, next func() string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "notify")
	listener, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, listener.Close()) })
	return path, func() string {
		require.NoError(t, listener.SetReadDeadline(time.Now().Add(time.Minute)))
		datagram := make([]byte, 64)
		n, err := listener.Read(datagram)
		require.NoError(t, err)
		return string(datagram[:n])
	}
}

// The gateway must serve metrics of its calls and of the fleet, and must tell systemd when it is
// ready and when it stops.
func TestGateway_MetricsAndSystemd(t *testing.T) {
	t.Parallel()
	env := localEnv(t)
	d, err := demo.Start(env.Bus, 2, new(slog.LevelVar))
	require.NoError(t, err)
	t.Cleanup(d.Close)
	socket, told := systemdSocket(t)
	ctx, interrupt := context.WithCancel(t.Context())
	env.Context, env.Vars = ctx, map[string]string{"NOTIFY_SOCKET": socket}
	announced := announcement(&env, "http://")
	results := make(chan clitest.Result, 1)
	go func() {
		results <- clitest.Run(t, env, "", "gateway", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
	}()
	fields := strings.Fields(<-announced)
	require.Len(t, fields, 6)
	gatewayURL, metricsURL := fields[1], fields[5]
	assert.Equal(t, "READY=1", told())
	fetch(t, http.MethodPost, gatewayURL+"/greeting.Greeter/Hello", `{"name": "Ada"}`)
	page := fetch(t, http.MethodGet, metricsURL, "")
	for _, line := range []string{
		`rpc_client_call_duration_seconds_count{error_type="",rpc_method="greeting.Greeter/Hello",rpc_response_status_code="ok",rpc_system_name="psrpc"} 1`,
		`dynpsrpc_conn_waiting{dynpsrpc_conn="main"} 0`,
		`dynpsrpc_fleet_servers{dynpsrpc_state="serving"} 2`,
		`dynpsrpc_fleet_silent_servers 0`,
		`dynpsrpc_fleet_service_versions{dynpsrpc_service="Greeter"} 1`,
	} {
		assert.Contains(t, page, line+"\n")
	}
	rebound, err := http.NewRequestWithContext(t.Context(), http.MethodGet, metricsURL, nil)
	require.NoError(t, err)
	rebound.Host = "rebound.example"
	response, err := http.DefaultClient.Do(rebound)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	assert.Equal(t, http.StatusMisdirectedRequest, response.StatusCode, "only names of this machine lead to it")
	interrupt()
	assert.Equal(t, "STOPPING=1", told())
	clitest.Golden(t, "gateway_metrics", <-results, clitest.Replace(`127\.0\.0\.1:\d+`, "ADDRESS"))
}

// fetch returns the body of a response, whose status must be 200.
func fetch(t *testing.T, method, url, body string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, "%s", text)
	return string(text)
}
