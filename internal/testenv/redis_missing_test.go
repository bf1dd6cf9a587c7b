package testenv_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// fakeTB is a testing.TB that records how a test ends.
type fakeTB struct {
	testing.TB
	text string
}

func (v *fakeTB) end(text string) {
	v.text = text
	runtime.Goexit()
}

func (v *fakeTB) Fatal(args ...any) { v.end("failed: " + fmt.Sprint(args...)) }
func (v *fakeTB) Fatalf(format string, args ...any) {
	v.end("failed: " + fmt.Sprintf(format, args...))
}
func (v *fakeTB) Skip(args ...any) { v.end("skipped: " + fmt.Sprint(args...)) }
func (v *fakeTB) Log(args ...any)  { v.text += "logged: " + fmt.Sprint(args...) }

// run runs body and returns how it ended.
func (v *fakeTB) run(body func()) string {
	v.text = ""
	ended := make(chan struct{})
	go func() { // run waits for this goroutine
		defer close(ended)
		body()
	}()
	<-ended
	return v.text
}

func TestRedis_Miniredis(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("CI", "")
	v := &fakeTB{TB: t}
	var server *testenv.RedisServer
	assert.Contains(t, v.run(func() { server = testenv.Redis(v, "--maxclients", "10") }), "logged: NO redis-server")
	assert.Equal(t, "+PONG", dial(t, server.Addr()).request("*1\r\n$4\r\nPING"))
	for _, fault := range []func(){server.Kill, server.Start, server.Pause, server.Resume} {
		assert.Contains(t, v.run(fault), "failed: install redis-server")
	}
	assert.Contains(t, v.run(func() { testenv.RedisCluster(v) }), "skipped: install redis-server")
	assert.Contains(t, v.run(func() { testenv.RedisSentinel(v) }), "skipped: install redis-server")
}

func TestRedis_MissingInCI(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("CI", "true")
	v := &fakeTB{TB: t}
	assert.Contains(t, v.run(func() { testenv.Redis(v) }), "failed: install redis-server")
	assert.Contains(t, v.run(func() { testenv.RedisCluster(v) }), "failed: install redis-server")
	assert.Contains(t, v.run(func() { testenv.RedisSentinel(v) }), "failed: install redis-server")
}

func TestRedis_ReportsStartError(t *testing.T) {
	t.Parallel()
	v := &fakeTB{TB: t}
	got := v.run(func() { testenv.Redis(v, "--nosuch", "1") })
	assert.Contains(t, got, "failed: ")
	assert.Contains(t, got, "nosuch")
	assert.Contains(t, got, "Bad directive")
}
