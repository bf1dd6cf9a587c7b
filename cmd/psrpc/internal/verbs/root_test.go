package verbs_test

import (
	"testing"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/clitest"
)

func TestVersion(t *testing.T) {
	t.Parallel()
	clitest.Golden(t, "version", clitest.Run(t, clitest.Env{}, "", "version"), clitest.Replace(`psrpc \S+.* go\S+ \S+`, "psrpc VERSION GO OS/ARCH"))
}

func TestRoot_UnknownVerb(t *testing.T) {
	t.Parallel()
	clitest.Golden(t, "unknown_verb", clitest.Run(t, clitest.Env{}, "", "cal"))
	clitest.Golden(t, "unknown_verb_json", clitest.Run(t, clitest.Env{}, "", "cal", "-o", "json"))
	clitest.Golden(t, "unknown_format", clitest.Run(t, clitest.Env{}, "", "version", "-o", "yaml"))
}
