package dynamic_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// TestVersion_IsThatOfTheChangelog checks that Version is the version of the latest section of the
// changelog.
func TestVersion_IsThatOfTheChangelog(t *testing.T) {
	t.Parallel()
	changelog, err := os.ReadFile("../CHANGELOG.md")
	require.NoError(t, err)
	section := regexp.MustCompile(`(?m)^## v?(\S+)`).FindSubmatch(changelog)
	require.NotNil(t, section)
	released, isUnreleased := strings.CutSuffix(dynamic.Version, "-unreleased")
	assert.Regexp(t, `^\d+\.\d+\.\d+$`, released)
	assert.Equal(t, string(section[1]) == "Unreleased", isUnreleased)
	if !isUnreleased {
		assert.Equal(t, string(section[1]), released)
	}
}
