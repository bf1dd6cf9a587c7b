package transport

import (
	"testing"

	"github.com/stretchr/testify/assert"

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
