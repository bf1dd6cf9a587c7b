package systemd_test

import (
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/systemd"
)

// systemd's socket may be a file or a name in Linux's abstract namespace.
func TestNotify(t *testing.T) {
	t.Parallel()
	sockets := []string{filepath.Join(t.TempDir(), "notify")}
	if runtime.GOOS == "linux" {
		sockets = append(sockets, "@dynpsrpc-"+filepath.Base(t.TempDir())+t.Name())
	}
	for _, socket := range sockets {
		listener, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
		require.NoError(t, err)
		require.NoError(t, systemd.Notify(t.Context(), socket, systemd.Ready))
		require.NoError(t, systemd.Notify(t.Context(), socket, systemd.Stopping))
		require.NoError(t, listener.SetReadDeadline(time.Now().Add(10*time.Second)))
		for _, state := range []string{"READY=1", "STOPPING=1"} {
			datagram := make([]byte, 64)
			n, err := listener.Read(datagram)
			require.NoError(t, err)
			assert.Equal(t, state, string(datagram[:n]))
		}
		require.NoError(t, listener.Close())
	}
}

func TestNotify_WithoutSystemd(t *testing.T) {
	t.Parallel()
	require.NoError(t, systemd.Notify(t.Context(), "", systemd.Ready))
	require.Error(t, systemd.Notify(t.Context(), filepath.Join(t.TempDir(), "nobody"), systemd.Ready))
}
