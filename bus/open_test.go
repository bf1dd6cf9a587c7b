package bus_test

import (
	"context"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

func TestOpen_Local(t *testing.T) {
	t.Parallel()
	b, err := bus.Open(t.Context(), "local://?max_frame_size=4")
	require.NoError(t, err)
	require.ErrorIs(t, b.Publish(t.Context(), bus.Channel{}, make([]byte, 5), nil), bus.ErrFrameTooLarge)
	require.NoError(t, b.Publish(t.Context(), bus.Channel{}, make([]byte, 4), nil))
	require.NoError(t, b.Close())
}

func TestOpen_Errors(t *testing.T) {
	t.Parallel()
	for rawURL, want := range map[string]string{
		"":                           `no bus driver for scheme "": want a URL such as local://`,
		"host/path":                  `no bus driver for scheme "": want a URL such as local://`,
		"nosuch://host":              `no bus driver for scheme "nosuch": import the package that registers it; registered: local`,
		"redis://host":               `add import _ "github.com/dynpsrpc/dynpsrpc/bus/redisbus"; registered: local`,
		"rediss://host":              `add import _ "github.com/dynpsrpc/dynpsrpc/bus/redisbus"`,
		"redis-sentinel://host":      `add import _ "github.com/dynpsrpc/dynpsrpc/bus/redisbus"`,
		"redis-cluster://host":       `add import _ "github.com/dynpsrpc/dynpsrpc/bus/redisbus"`,
		"nats://host":                `add import _ "github.com/dynpsrpc/dynpsrpc/bus/natsbus"`,
		"tls://host":                 `add import _ "github.com/dynpsrpc/dynpsrpc/bus/natsbus"`,
		"127.0.0.1:6379":             "cannot parse bus URL",
		"local://host":               "takes neither host nor path",
		"local:///path":              "takes neither host nor path",
		"local://?max_frame_size=x":  "takes max_frame_size, a number of bytes",
		"local://?nosuch=secret":     "no other parameter",
		"nosuch://u:secret@host:bad": "cannot parse bus URL",
	} {
		_, err := bus.Open(t.Context(), rawURL)
		require.ErrorContains(t, err, want, rawURL)
		assert.NotContains(t, err.Error(), "secret")
	}
}

func TestMustRegister(t *testing.T) {
	t.Parallel()
	local := bus.NewLocal()
	bus.MustRegister("testdriver", func(_ context.Context, u *url.URL) (bus.Bus, error) {
		assert.Equal(t, "host", u.Host)
		return local, nil
	})
	b, err := bus.Open(t.Context(), "testdriver://host")
	require.NoError(t, err)
	assert.Same(t, local, b)
	assert.Panics(t, func() { bus.MustRegister("testdriver", nil) })
}
