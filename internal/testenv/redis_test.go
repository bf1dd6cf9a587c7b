package testenv_test

import (
	"io"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

func TestRedis_Answers(t *testing.T) {
	t.Parallel()
	first, second := testenv.Redis(t), testenv.Redis(t)
	assert.Equal(t, "+PONG", dial(t, first.Addr()).request("PING"))
	assert.Equal(t, "+PONG", dial(t, second.Addr()).request("PING"))
	assert.NotEqual(t, first.Addr(), second.Addr())
	assert.Equal(t, "redis://"+first.Addr(), first.URL())
}

func TestRedis_Config(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t, "--client-output-buffer-limit", "pubsub 1mb 0 0", "--requirepass", "secret")
	client := dial(t, server.Addr())
	assert.Contains(t, client.request("PING"), "NOAUTH")
	assert.Equal(t, "+OK", client.request("AUTH secret"))
	client.send("CONFIG GET client-output-buffer-limit")
	for _, want := range []string{"*2", "$26", "client-output-buffer-limit"} {
		require.Equal(t, want, client.receive())
	}
	client.receive()
	assert.Contains(t, client.receive(), "pubsub 1048576 0 0")
}

func TestRedis_KillAndStart(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	client := dial(t, server.Addr())
	require.Equal(t, "+OK", client.request("SET key value"))
	server.Kill()
	client.requireEnd(io.EOF)
	_, err := connect(server.Addr())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	server.Kill() // does nothing, because the server is not running

	addr := server.Addr()
	server.Start()
	assert.Equal(t, addr, server.Addr())
	assert.Equal(t, "$-1", dial(t, addr).request("GET key"))
}

func TestRedis_PauseAndResume(t *testing.T) {
	t.Parallel()
	server := testenv.Redis(t)
	client := dial(t, server.Addr())
	require.Equal(t, "+PONG", client.request("PING"))
	server.Pause()
	client.send("PING")
	client.requireNoData()
	dial(t, server.Addr()) // the kernel accepts connections while the server is paused
	server.Resume()
	assert.Equal(t, "+PONG", client.receive())
}
