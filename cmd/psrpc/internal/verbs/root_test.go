package verbs_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/clitest"
)

func TestVersion(t *testing.T) {
	t.Parallel()
	clitest.Golden(t, "version", clitest.Run(t, clitest.Env{}, "", "version"), clitest.Replace(`psrpc \S+.* go\S+ \S+`, "psrpc VERSION GO OS/ARCH"))
}

// Negative numbers and durations must be refused, not treated as the default.
func TestRoot_NegativeValues(t *testing.T) {
	t.Parallel()
	clitest.Golden(t, "negative_number", clitest.Run(t, clitest.Env{}, "", "events", "--count", "-1"))
	for _, args := range []string{
		"call Greeter/Hello --min -1", "call Greeter/Hello --max -0.5", "call Greeter/Hello --min NaN", "subscribe Greeter/News --count -1",
		"publish Greeter/News --rate -1", "top --rows -1", "stats --count -1", "list --wait -1s", "tap --count -1", "record --for -1s", "version --timeout -1s",
		"replay file --concurrency -1", "bench Greeter/Hello --max-p50 -1s", "bench Greeter/News --window 0", "bench Greeter/News --subscribers 0", "serve --servers 0",
	} {
		assert.Equal(t, app.ExitUsage, clitest.Run(t, clitest.Env{}, "", strings.Fields(args)...).Exit, args)
	}
}

func TestRoot_UnknownVerb(t *testing.T) {
	t.Parallel()
	clitest.Golden(t, "unknown_verb", clitest.Run(t, clitest.Env{}, "", "cal"))
	clitest.Golden(t, "unknown_verb_json", clitest.Run(t, clitest.Env{}, "", "cal", "-o", "json"))
	clitest.Golden(t, "unknown_format", clitest.Run(t, clitest.Env{}, "", "version", "-o", "yaml"))
}
