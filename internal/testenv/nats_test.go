package testenv_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

const natsConnect = `CONNECT {"verbose":false}`

func dialNATS(t *testing.T, addr string) *lineConn {
	t.Helper()
	client := dial(t, addr)
	require.Contains(t, client.receive(), "INFO {")
	client.send(natsConnect)
	require.Equal(t, "PONG", client.request("PING"))
	return client
}

func TestNATS_Answers(t *testing.T) {
	t.Parallel()
	first, second := testenv.NATS(t), testenv.NATS(t)
	assert.NotEqual(t, first.URL(), second.URL())
	addr, ok := strings.CutPrefix(first.URL(), "nats://")
	require.True(t, ok, first.URL())
	dialNATS(t, addr)
	assert.Equal(t, 1, first.Server().NumClients())
	assert.Equal(t, 0, second.Server().NumClients())
}

func TestNATS_Configure(t *testing.T) {
	t.Parallel()
	s := testenv.NATS(t, func(o *server.Options) { o.MaxPayload = 1234 }, func(o *server.Options) { o.ServerName = "n" })
	info := dial(t, strings.TrimPrefix(s.URL(), "nats://")).receive()
	assert.Contains(t, info, `"max_payload":1234`)
	assert.Contains(t, info, `"server_name":"n"`)
}

func TestNATSProcess_KillAndStart(t *testing.T) {
	t.Parallel()
	s := testenv.NATSProcess(t, "--name", "of-a-test")
	assert.Equal(t, "nats://"+s.Addr(), s.URL())
	assert.Contains(t, dial(t, s.Addr()).receive(), `"server_name":"of-a-test"`)
	dialNATS(t, s.Addr())
	s.Kill()
	_, err := connect(s.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	s.Start()
	dialNATS(t, s.Addr())
}

func TestNATSProcess_PauseAndResume(t *testing.T) {
	t.Parallel()
	s := testenv.NATSProcess(t)
	client := dialNATS(t, s.Addr())
	s.Pause()
	client.send("PING")
	client.requireNoData()
	s.Resume()
	assert.Equal(t, "PONG", client.receive())
}
