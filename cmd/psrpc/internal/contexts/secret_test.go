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
		"nats://tok@h:4222,tok@i:4222":   "nats://[hidden]@i:4222",
		"nats://h,nats://ada:pass@i":     "nats://[hidden]@i",
		"nats://h?monitor=http://a:p@m":  "nats://[hidden]",
		"nats://h?monitor=http://a:p%40": "nats://[hidden]",
		"file:/run/secrets/bus":          "file:/run/secrets/bus",
		"cmd:pass show bus":              "cmd:pass show bus",
		"pass@host":                      "[hidden]",
	} {
		assert.Equal(t, want, contexts.RedactURL(url), url)
	}
}

func TestHasPassword(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]bool{
		"redis://ada:pass@host": true, "nats://token@host": true, "redis://host?password=p": true, "ada:pass@host": true,
		"": false, "redis://host/0": false, "redis://ada@host": false, "localhost:6379": false, "redis://ada:${PASS}@host": false,
	} {
		assert.Equal(t, want, contexts.HasPassword(url), url)
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"redis://ada:pass@host:6379/0?db=1": "redis://host:6379/0",
		"redis://ada:p/a@ss@host":           "redis://host",
		"nats://h:1,i:2":                    "nats://h:1,i:2",
		"nats://a:p@h,nats://b:q@i":         "nats://i",
		"redis://ada:p?a@host":              "the bus",
		"redis://ada:p#a@host":              "the bus",
		"pass@host":                         "the bus",
	} {
		assert.Equal(t, want, contexts.Hosts(url), url)
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
	for key, want := range map[string]bool{"Authorization": true, "x-api-key": true, "auth-token": true, "X-Auth": true, "db_credentials": true, "API_KEY": true, "traceparent": false, "region": false} {
		assert.Equal(t, want, contexts.IsSecretKey(key), key)
	}
}
