package transport

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

func TestSuggest(t *testing.T) {
	t.Parallel()
	methods := weather(t).Methods()
	for given, want := range map[string]string{
		"test.Weather/Forcast":  "; did you mean test.Weather/Forecast?",
		"test.weather/forecast": "; did you mean test.Weather/Forecast?",
		"Weather/Report":        "; did you mean test.Weather/Report?",
		"Report":                "; did you mean test.Weather/Report?",
		"test.Weather/Alarm":    "; did you mean test.Weather/Alert?",
		"test.Weather/Nothing":  "",
		"":                      "",
		"/":                     "",
	} {
		assert.Equal(t, want, Suggest(given, methods, (*registry.Method).FullName), given)
	}
	assert.Equal(t, "; did you mean Alert?", Suggest("Alret", methods, (*registry.Method).Name))
	assert.Empty(t, Suggest("Alert", nil, (*registry.Method).Name))
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
