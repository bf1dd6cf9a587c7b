package verbs_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/clitest"
)

// Three servers serve greeting.Greeter, one of which declines all requests. The verb must show
// which servers claim a request, and must not run the request.
func TestWho_Golden(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	var ran atomic.Int64
	for _, server := range []greeterOptions{
		{id: "SRV_first", affinity: 0.5}, {id: "SRV_second", affinity: 0.75}, {id: "SRV_third", affinity: -1},
	} {
		server.ran = &ran
		startGreeterOn(t, b, server)
	}
	for name, args := range map[string][]string{
		"who":             {"Greeter/Best", "name=Ada"},
		"who-json":        {"Greeter/Best", "name=Ada", "-o", "json"},
		"who-wide":        {"Greeter/Best", `{"name":"Ada"}`, "-o", "wide"},
		"who-name":        {"Greeter/Best", "name=Ada", "-o", "name"},
		"who-quiet":       {"Greeter/Best", "name=Ada", "-q"},
		"who-queue":       {"Greeter/Hello", "name=Ada"},
		"who-multi":       {"Greeter/All", "name=Ada"},
		"who-wrong-field": {"Greeter/Best", "nme=Ada"},
		"who-wrong-for":   {"Greeter/Best", "--for", "0s"},
		"who-topic":       {"Greeter/Best", "--topic", "eu"},
	} {
		goldenWho(t, name, clitest.Run(t, clitest.Env{Bus: b}, "", append([]string{"who"}, args...)...))
	}
	assert.Zero(t, ran.Load(), "requests that were run")
}

func goldenWho(t *testing.T, name string, result clitest.Result) {
	t.Helper()
	clitest.Golden(t, name, result,
		clitest.Replace(`(?m)[0-9.]+(µs| ns| ms)`, "TIME"), clitest.Replace(`TIME +`, "TIME  "), clitest.Replace(`_ns":[0-9]+`, `_ns":0`),
		clitest.Replace(`SRV_[a-z]+ ( +1.00)`, "SRV_any $1"))
}

func TestWho_Nobody(t *testing.T) {
	t.Parallel()
	declining, empty := newBus(t), newBus(t)
	startGreeterOn(t, declining, greeterOptions{id: "SRV_third", affinity: -1})
	goldenWho(t, "who-declined", clitest.Run(t, clitest.Env{Bus: declining}, "", "who", "Greeter/Best"))
	path := filepath.Join(t.TempDir(), "greeter.proto")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, greeterSource, ""), 0o600))
	goldenWho(t, "who-nobody", clitest.Run(t, clitest.Env{Bus: empty}, "", "who", "Greeter/Best", "-p", path))
}

// The output must be JSON even if a server claims with an infinite affinity, which JSON cannot
// express.
func TestWho_InfiniteAffinity(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	startGreeterOn(t, b, greeterOptions{id: "SRV_first", affinity: float32(math.Inf(1))})
	result := clitest.Run(t, clitest.Env{Bus: b}, "", "who", "Greeter/Best", "name=Ada", "-o", "json")
	assert.Equal(t, 0, result.Exit, result.Stderr)
	assert.Contains(t, result.Stdout, `"affinity":3.4028235e+38`)
}
