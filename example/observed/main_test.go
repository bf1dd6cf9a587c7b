package main

import (
	"bytes"
	"log/slog"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRun_PrintsSpansAndPage(t *testing.T) {
	t.Parallel()
	var out, logged bytes.Buffer
	require.NoError(t, run(t.Context(), "local://", &out, slog.New(slog.NewTextHandler(&logged, nil))))
	printed := regexp.MustCompile(`(CLI|SRV)_\w+`).ReplaceAllString(out.String(), "${1}_x")

	assert.Contains(t, printed, `
{"number": "2", "pieces": 1000}: request of shop.Shop/Order is not valid: pieces: must be greater than or equal to 1 and less than or equal to 100
{"number": "13", "pieces": 1}: internal error
{"number": "3", "pieces": 1}: unknown token
in stock: 7 <nil>
news: the shop is closed
`)
	assert.Contains(t, printed, `
  shopping (internal)
    shop.Shop/Order (client) rpc.system.name=psrpc rpc.method=shop.Shop/Order dynpsrpc.server.id=SRV_x rpc.response.status_code=unavailable error.type=unavailable
      shop.Shop/Order (server) rpc.system.name=psrpc rpc.method=shop.Shop/Order dynpsrpc.client.id=CLI_x rpc.response.status_code=unavailable error.type=unavailable
        check stock (internal)
    shop.Shop/Order (client) rpc.system.name=psrpc rpc.method=shop.Shop/Order dynpsrpc.attempt=2 dynpsrpc.server.id=SRV_x rpc.response.status_code=ok
      shop.Shop/Order (server) rpc.system.name=psrpc rpc.method=shop.Shop/Order dynpsrpc.client.id=CLI_x rpc.response.status_code=ok
        check stock (internal)
`)
	for _, line := range []string{
		`rpc_client_call_duration_seconds_count{error_type="",rpc_method="shop.Shop/Order",rpc_response_status_code="ok",rpc_system_name="psrpc"} 1`,
		`rpc_server_call_duration_seconds_count{error_type="unavailable",rpc_method="shop.Shop/Order",rpc_response_status_code="unavailable",rpc_system_name="psrpc"} 1`,
		`rpc_server_call_duration_seconds_count{error_type="unauthenticated",rpc_method="shop.Shop/Order",rpc_response_status_code="unauthenticated",rpc_system_name="psrpc"} 1`,
		`rpc_server_request_size_bytes_count{rpc_method="shop.Shop/Order",rpc_system_name="psrpc"} 5`,
		`dynpsrpc_server_active_calls{rpc_method="shop.Shop/Order",rpc_system_name="psrpc"} 0`,
		`dynpsrpc_client_multi_responses_total{error_type="",rpc_method="shop.Shop/Stock",rpc_response_status_code="ok",rpc_system_name="psrpc"} 1`,
		`dynpsrpc_server_requests_total{dynpsrpc_event="received",rpc_method="shop.Shop/Stock",rpc_system_name="psrpc"} 1`,
		`dynpsrpc_subscription_received_total{dynpsrpc_subscription="news"} 1`,
		`dynpsrpc_conn_dropped_total{dynpsrpc_conn="main",dynpsrpc_reason="bad_frame"} 0`,
	} {
		assert.Contains(t, printed, line+"\n")
	}
	assert.Contains(t, logged.String(), "attempt=2")
	assert.Contains(t, logged.String(), "panic=unlucky")
}
