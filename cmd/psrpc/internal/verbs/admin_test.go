package verbs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/clitest"
)

// The verbs must drain servers, resume them and set their log level, one server after the other.
func TestAdmin_Golden(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"table", "json", "name"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			for _, id := range []string{"SRV_first", "SRV_second"} {
				stop, err := serveGreeter(b, greeterOptions{id: id})
				t.Cleanup(func() { require.NoError(t, stop()) })
				require.NoError(t, err)
			}
			var session strings.Builder
			for _, line := range []string{
				"log-level debug SRV_first", "log-level info+2 SRV_first", "drain SRV_first SRV_second",
				"health", "resume SRV_first", "resume SRV_second", "health",
			} {
				args := append(strings.Fields(line), "-o", format)
				result := clitest.Run(t, clitest.Env{Bus: b}, "", args...)
				session.WriteString("$ psrpc " + line + "\n" + result.Stdout + result.Stderr)
			}
			clitest.Golden(t, "admin-"+format, clitest.Result{Stdout: session.String()})
		})
	}
}

func TestAdmin_Refused(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	(&fakeServer{id: "SRV_plain", answer: always(`{}`)}).start(t, b)
	for name, line := range map[string]string{
		"admin-unknown":     "drain SRV_none",
		"admin-not-served":  "resume SRV_plain",
		"admin-no-server":   "drain",
		"admin-wrong-level": "log-level loud SRV_plain",
	} {
		clitest.Golden(t, name, clitest.Run(t, clitest.Env{Bus: b}, "", strings.Fields(line)...))
	}
}

// In a read-only context, verbs must change servers only if --yes is given.
func TestAdmin_ReadOnly(t *testing.T) {
	t.Parallel()
	b, home := newBus(t), t.TempDir()
	stop, err := serveGreeter(b, greeterOptions{id: "SRV_first"})
	t.Cleanup(func() { require.NoError(t, stop()) })
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(home, ".config", "psrpc"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(home, ".config", "psrpc", "config.yaml"),
		[]byte("current: production\ncontexts:\n  production:\n    bus: redis://127.0.0.1:6379\n    readonly: true\n"), 0o600))
	env := clitest.Env{Bus: b, Vars: map[string]string{"HOME": home}}
	refused := clitest.Run(t, env, "", "drain", "SRV_first")
	assert.Equal(t, 2, refused.Exit)
	assert.Contains(t, refused.Stderr, "context production is read-only: drain is refused\n  add --yes")
	assert.Equal(t, 0, clitest.Run(t, env, "", "drain", "SRV_first", "--yes").Exit)
}
