package transport

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestCheckTopic(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		method string
		parts  []string
		want   string // empty if the topic is right
	}{
		"no topic":           {"Forecast", nil, ""},
		"unexpected topic":   {"Forecast", []string{"eu"}, `method test.Weather/Forecast takes no topic, given ["eu"]`},
		"unnamed part":       {"Report", []string{"eu"}, ""},
		"missing topic":      {"Report", nil, `method test.Weather/Report takes a topic (topic): wanted parts 1, given 0: []`},
		"empty part":         {"Report", []string{""}, ""},
		"named parts":        {"Alert", []string{"eu", "high"}, ""},
		"missing named part": {"Alert", []string{"eu"}, `method test.Weather/Alert takes a topic (region, severity): wanted parts 2, given 1: ["eu"]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := CheckTopic(method(t, tt.method), tt.parts)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, tt.want)
			coded, ok := errors.AsType[errors.Error](err)
			require.True(t, ok)
			assert.Equal(t, errors.InvalidArgument, coded.Code())
		})
	}
}
