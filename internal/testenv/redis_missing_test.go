package testenv_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// verdict is a test that may end as it likes.
type verdict struct {
	testing.TB
	text string
}

func (v *verdict) end(text string) {
	v.text = text
	runtime.Goexit()
}

func (v *verdict) Fatal(args ...any) { v.end("failed: " + fmt.Sprint(args...)) }
func (v *verdict) Fatalf(format string, args ...any) {
	v.end("failed: " + fmt.Sprintf(format, args...))
}
func (v *verdict) Skip(args ...any) { v.end("skipped: " + fmt.Sprint(args...)) }
func (v *verdict) Log(args ...any)  { v.text += "said: " + fmt.Sprint(args...) }

// run returns how body ends.
func (v *verdict) run(body func()) string {
	v.text = ""
	ended := make(chan struct{})
	go func() { // it is waited for right below
		defer close(ended)
		body()
	}()
	<-ended
	return v.text
}

func TestRedis_StandIn(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("CI", "")
	v := &verdict{TB: t}
	var server *testenv.RedisServer
	assert.Contains(t, v.run(func() { server = testenv.Redis(v, "--maxclients", "10") }), "said: NO redis-server")
	assert.Equal(t, "+PONG", dial(t, server.Addr()).ask("*1\r\n$4\r\nPING"))
	for _, fault := range []func(){server.Kill, server.Start, server.Pause, server.Resume} {
		assert.Contains(t, v.run(fault), "failed: install redis-server")
	}
	assert.Contains(t, v.run(func() { testenv.RedisCluster(v) }), "skipped: install redis-server")
	assert.Contains(t, v.run(func() { testenv.RedisSentinel(v) }), "skipped: install redis-server")
}

func TestRedis_MissingInCI(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("CI", "true")
	v := &verdict{TB: t}
	assert.Contains(t, v.run(func() { testenv.Redis(v) }), "failed: install redis-server")
	assert.Contains(t, v.run(func() { testenv.RedisCluster(v) }), "failed: install redis-server")
	assert.Contains(t, v.run(func() { testenv.RedisSentinel(v) }), "failed: install redis-server")
}

func TestRedis_SaysWhyItDoesNotStart(t *testing.T) {
	t.Parallel()
	v := &verdict{TB: t}
	said := v.run(func() { testenv.Redis(v, "--nosuch", "1") })
	assert.Contains(t, said, "failed: ")
	assert.Contains(t, said, "nosuch")
	assert.Contains(t, said, "Bad directive")
}
