package bus_test

import (
	"context"
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/errors"
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
		"local://?wait=secret":       "parameter wait must be a duration such as 30s",
		"local://?wait=-1s":          "parameter wait must be a duration such as 30s",
		"nosuch://u:secret@host:bad": "cannot parse bus URL",
	} {
		_, err := bus.Open(t.Context(), rawURL)
		require.ErrorContains(t, err, want, rawURL)
		assert.NotContains(t, err.Error(), "secret")
	}
}

// failingDriver is a driver whose first attempts to connect fail.
type failingDriver struct {
	failures int
	code     errors.ErrorCode
	attempts int
}

func (d *failingDriver) open(_ context.Context, u *url.URL) (bus.Bus, error) {
	if d.attempts++; d.attempts <= d.failures {
		return nil, errors.NewErrorf(d.code, "no broker, %s", u.RawQuery)
	}
	return bus.NewLocal(), nil
}

// registered is the number of drivers that registerDriver has registered.
var registered atomic.Int64

// registerDriver registers a driver under a new scheme, which it returns. A scheme can be
// registered only once, even if a test runs several times.
func registerDriver(driver bus.Driver) (scheme string) {
	scheme = fmt.Sprintf("test%d", registered.Add(1))
	bus.MustRegister(scheme, driver)
	return scheme
}

// If the URL has the parameter wait, Open must try again while the broker is unreachable, but not
// after other errors.
func TestOpen_Wait(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		driver   failingDriver
		query    string
		attempts int
		want     string // empty if Open succeeds
	}{
		"the broker starts late": {failingDriver{failures: 20, code: errors.Unavailable}, "?wait=30s", 21, ""},
		"no broker":              {failingDriver{failures: 999, code: errors.Unavailable}, "?wait=3s&a=b", 0, "no broker, a=b"},
		"no wait":                {failingDriver{failures: 1, code: errors.Unavailable}, "?wait=0s", 1, "no broker, "},
		"refused":                {failingDriver{failures: 1, code: errors.Unauthenticated}, "?wait=30s", 1, "no broker, "},
	} {
		scheme := registerDriver(tt.driver.open)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				b, err := bus.Open(t.Context(), scheme+"://host"+tt.query)
				if tt.want == "" {
					require.NoError(t, err)
					require.NoError(t, b.Close())
				} else {
					require.EqualError(t, err, tt.want)
					require.ErrorIs(t, err, tt.driver.code)
				}
				if tt.attempts > 0 {
					assert.Equal(t, tt.attempts, tt.driver.attempts)
					return
				}
				assert.InDelta(t, 8, tt.driver.attempts, 6, "the times between attempts are partly random")
				assert.Equal(t, 3*time.Second, time.Since(start))
			})
		})
	}
}

// While Open waits for the broker, it must return when its context ends. The error must contain
// both the error of the context and that of the driver.
func TestOpen_WaitEndsWithTheContext(t *testing.T) {
	t.Parallel()
	driver := failingDriver{failures: 999, code: errors.Unavailable}
	scheme := registerDriver(driver.open)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := bus.Open(ctx, scheme+"://host?wait=1h")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "no broker")
	})
}

func TestMustRegister(t *testing.T) {
	t.Parallel()
	local := bus.NewLocal()
	scheme := registerDriver(func(_ context.Context, u *url.URL) (bus.Bus, error) {
		assert.Equal(t, "host", u.Host)
		return local, nil
	})
	b, err := bus.Open(t.Context(), scheme+"://host")
	require.NoError(t, err)
	assert.Same(t, local, b)
	assert.Panics(t, func() { bus.MustRegister(scheme, nil) })
}
