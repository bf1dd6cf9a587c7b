package contexts_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/contexts"
)

func TestRedactURL(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"":                               "",
		"redis://host:6379/0":            "redis://host:6379/0",
		"redis://ada:pass@host":          "redis://ada:[hidden]@host",
		"redis://:pass@host":             "redis://:[hidden]@host",
		"redis://ada@host":               "redis://ada@host",
		"redis://ada:p/a@ss@host/0":      "redis://ada:[hidden]@host/0",
		"redis://ada:p?a@host/0":         "redis://[hidden]",
		"redis://ada:${PASS}@host":       "redis://ada:${PASS}@host",
		"redis://host?password=p&db=1":   "redis://host?password=[hidden]&db=1",
		"redis://host?pass%77ord=p&db=1": "redis://host?pass%77ord=[hidden]&db=1",
		"nats://token@host":              "nats://[hidden]@host",
		"nats://${TOKEN}@host":           "nats://${TOKEN}@host",
		"file:/run/secrets/bus":          "file:/run/secrets/bus",
		"cmd:pass show bus":              "cmd:pass show bus",
		"pass@host":                      "[hidden]",
	} {
		assert.Equal(t, want, contexts.RedactURL(url), url)
	}
}

func TestExpand(t *testing.T) {
	t.Parallel()
	env := func(name string) string { return map[string]string{"PASS": "secret"}[name] }
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte("from file\n"), 0o600))
	for value, want := range map[string]string{
		"plain": "plain", "redis://a:${PASS}@h": "redis://a:secret@h", "file:" + path: "from file", "$PASS": "$PASS",
	} {
		got, err := contexts.Expand(value, env)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	for _, value := range []string{"${MISSING}", "file:" + path + ".missing", "cmd:", "cmd:/no/such/command"} {
		_, err := contexts.Expand(value, env)
		assert.Error(t, err, value)
	}
	if runtime.GOOS != "windows" {
		got, err := contexts.Expand("cmd:cat "+path, env)
		require.NoError(t, err)
		assert.Equal(t, "from file", got)
	}
}

func TestIsSecretKey(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]bool{"Authorization": true, "x-api-key": true, "auth-token": true, "traceparent": false, "region": false} {
		assert.Equal(t, want, contexts.IsSecretKey(key), key)
	}
}
