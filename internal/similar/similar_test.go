package similar

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestHint(t *testing.T) {
	t.Parallel()
	candidates := []string{"my.pkg.Shop", "my.pkg.Stock", "other.Shopping"}
	for name, want := range map[string]string{
		"my.pkg.Shp":   "; did you mean my.pkg.Shop?",
		"Stock":        "; did you mean my.pkg.Stock?",
		"my.pkg.Thing": "",
		"":             "",
	} {
		assert.Equal(t, want, Hint(name, candidates), name)
	}
	assert.Empty(t, Hint("Shop", nil))
}

// Up to its limit, editDistance returns the same as the recursive definition of the edit distance.
func TestEditDistance_AgreesWithTheDefinition(t *testing.T) {
	t.Parallel()
	var distance func(a, b string) int
	distance = func(a, b string) int {
		switch {
		case a == "" || b == "":
			return len(a) + len(b)
		case a[0] == b[0]:
			return distance(a[1:], b[1:])
		default:
			return 1 + min(distance(a[1:], b), distance(a, b[1:]), distance(a[1:], b[1:]))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringOfN(rapid.RuneFrom([]rune("abc")), 0, 6, -1)
		a, b := word.Draw(t, "a"), word.Draw(t, "b")
		limit := rapid.IntRange(1, 8).Draw(t, "limit")
		require.Equal(t, min(distance(a, b), limit), editDistance(a, b, limit))
	})
}
