package verbs_test

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/verbs"
)

// docs/cli.md must describe the current verbs. With the flag -update, the test writes the page
// instead.
func TestReference_IsUpToDate(t *testing.T) {
	t.Parallel()
	const path = "../../../../docs/cli.md"
	page := verbs.Reference(verbs.New(app.New()))
	if flag.Lookup("update").Value.String() == "true" {
		require.NoError(t, os.WriteFile(path, []byte(page), 0o644))
		return
	}
	written, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(written), page, "go test -update writes %s", path)
}
