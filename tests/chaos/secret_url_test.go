package chaos_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/bus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/natsbus"
	_ "github.com/dynpsrpc/dynpsrpc/bus/redisbus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/process"
)

// mistypedURLs returns bus URLs that contain mistakes. The letter S stands for the password. No
// server listens on the addresses in these URLs.
func mistypedURLs() []string {
	var urls []string
	for _, scheme := range []string{
		"redis", "rediss", "redis-sentinel", "redis-cluster", "valkeys", "unix", "redis+unix", "nats", "tls", "local", "nosuch", "amqp",
	} {
		for _, rest := range []string{
			"://app:S/tail@h", "://app:12/S@h", "://app:S#tail@h", "://app:12#S@h", "://app:S?tail@h", "://app:12?S@h",
			"://app:S@tail@h", "://app:S:tail@h", "://app:S%zz@h", "://app:S\x01@h", "://app:S tail@h", "://app:S[@h",
			"://app:S+/x==@h", "://:S/@h", "://:S#@h", "://S?x=@h", "://app:x?y=S@h", "://app:x@y/S@h", "://app:x@y?S@h",
			"://app:x@y#S@h", ":app:S@h", ":/app:S@h", ":///app:S@h", "//app:S@h", "://app%3AS%40h", "://app:S", "://:S@h:bad",
			"://app:S@h:99999", "://app:S@", "://app:S@h,other:bad", "://app:S@h,nats://app:S@h", "://app:S@h/notanumber",
			"://app:S@h?nosuch=1", "://app:S@h?S", "://app:S@h?S=", "://h?password=S", "://h?sentinel_password=S",
			"://h?token=S", "://h?nosuch=S", "://h?password=S%zz", "://h?a=b;password=S", "://h?tls_ca=eyJS",
			"://app:S@h?tls_cert=/no/file", "://app:S@h?skip_verify=perhaps", "://app:S@h?connect_timeout=1", "://h#S", "://?nosuch=S",
			"://h?dial_timeout=app:S@h", "://app:S@h?tls_ca=/no/app:S@h", "://app:x@h?tls_cert=S@h&tls_key=x",
			"://app:S/run/redis.sock", "://app:S@/run/S@h", "://:S@h/run/redis.sock?nosuch=1", ":///run?db=S@h", "://app:S@h?master_name=m&nosuch=1", "://h/S/x",
		} {
			urls = append(urls, strings.ReplaceAll(scheme+rest, "@h", "@127.0.0.1:1"))
		}
	}
	return urls
}

// A mistake in a bus URL can move the password to an unexpected part of the URL. Errors must not
// contain the password, wherever it is.
func TestSecrets_MistypedURLs(t *testing.T) {
	t.Parallel()
	urls := mistypedURLs()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the context is canceled, because the URLs must be rejected before the bus connects
	for _, secret := range []string{"hunter2", "Zx9topsecret"} {
		for _, form := range urls {
			url := strings.ReplaceAll(form, "S", secret)
			if b, err := bus.Open(ctx, url); err == nil {
				assert.NoError(t, b.Close())
			} else {
				assert.NotContains(t, err.Error(), secret, url)
			}
			if loader, err := process.NewLoader(url); err != nil {
				assert.NotContains(t, err.Error(), secret, url)
			} else {
				text := fmt.Sprintf("%v %+v %#v %+v", loader, loader, loader, *loader)
				assert.NotContains(t, text, secret, url)
			}
		}
	}
	t.Logf("%d URLs", 2*len(urls))
}

// If a password contains a special character that is not percent-encoded, the error must ask the
// user to encode it.
func TestSecrets_ErrorsNameTheCure(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"redis", "redis-cluster", "nats", "tls"} {
		for _, tail := range []string{"/x", "#x", "?x", "%zz", "\x01"} {
			_, err := bus.Open(t.Context(), scheme+"://app:hunter2"+tail+"@127.0.0.1:1")
			assert.ErrorContains(t, err, "percent-encode")
			assert.ErrorContains(t, err, scheme+"://")
		}
	}
}

// The error of bus.Open must not contain the password if the bus cannot connect.
func TestSecrets_OpenBus(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"redis://app:hunter2@127.0.0.1:1", "redis-cluster://app:hunter2@127.0.0.1:1", "nats://hunter2@127.0.0.1:1",
		"redis-sentinel://127.0.0.1:1?master_name=m&sentinel_password=hunter2&password=hunter2", "nats://app:hunter2@127.0.0.1:1",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err := bus.Open(ctx, url)
		cancel()
		assert.Error(t, err)
		assert.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), "hunter2")
	}
}
