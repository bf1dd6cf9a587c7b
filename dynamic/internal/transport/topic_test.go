package transport

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

func TestCheckTopic(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		method string
		parts  []string
		want   string // empty if the topic is valid
	}{
		"no topic":           {"Forecast", nil, ""},
		"unexpected topic":   {"Forecast", []string{"eu"}, `method test.Weather/Forecast takes no topic, given ["eu"]`},
		"unnamed part":       {"Report", []string{"eu"}, ""},
		"missing topic":      {"Report", nil, `method test.Weather/Report takes a topic (topic): wanted parts 1, given 0: []`},
		"empty part":         {"Report", []string{""}, `method test.Weather/Report: part 1 of the topic is empty: [""]`},
		"named parts":        {"Alert", []string{"eu", "high"}, ""},
		"missing named part": {"Alert", []string{"eu"}, `method test.Weather/Alert takes a topic (region, severity): wanted parts 2, given 1: ["eu"]`},
		"not UTF-8":          {"Report", []string{"\xff"}, `method test.Weather/Report: part 1 of the topic is not valid UTF-8: "\xff"`},
		"not UTF-8 in a later part": {"Alert", []string{"eu", "a\xc3"},
			`method test.Weather/Alert: part 2 of the topic is not valid UTF-8: "a\xc3"`},
		"replacement character": {"Report", []string{"\uFFFD"}, ""},
		"empty last part":       {"Alert", []string{"eu", ""}, `method test.Weather/Alert: part 2 of the topic is empty: ["eu" ""]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := CheckTopic(method(t, tt.method), tt.parts, false)
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

func TestCheckTopic_AllowEmpty(t *testing.T) {
	t.Parallel()
	for name, topics := range map[string]map[bool][][]string{
		"Report":  {true: {{""}, {"eu"}}},
		"Alert":   {true: {{"", "high"}, {"", ""}, {"eu", "high"}}, false: {{"eu", ""}}},
		"Station": {true: {{"eu", "", "", "5"}}, false: {{"eu", "", "north", "5"}}},
	} {
		for accepted, topics := range topics {
			for _, topic := range topics {
				err := CheckTopic(method(t, name), topic, true)
				if accepted {
					require.NoError(t, err, topic)
				} else {
					require.ErrorContains(t, err, "empty parts of a topic may stand only directly before the last part")
				}
			}
		}
	}
}

// TestCheckTopic_Distinct checks that no two valid topics share a channel name or a NATS subject.
func TestCheckTopic_Distinct(t *testing.T) {
	t.Parallel()
	parts := []string{"", "a", "b", "a|b", "a.b", "|", ".", "*", "u+0061", "+", "\uFFFD", "\xff", "\xfe\xff", "\x00", "\U0001F600"}
	for name, parts := range map[string][]string{"Alert": parts, "Station": parts[:5]} {
		method := method(t, name)
		topicOf := map[string][]string{}
		accepted := 0
		for _, topic := range combinations(parts, method.TopicParts()) {
			if CheckTopic(method, topic, true) != nil {
				continue
			}
			accepted++
			channel := wire.RequestChannel("Weather", name, topic, true)
			for _, address := range []string{"name " + channel.Name, "subject " + channel.Subject} {
				other, taken := topicOf[address]
				assert.False(t, taken, "topics %q and %q meet on %s", other, topic, address)
				topicOf[address] = topic
			}
		}
		assert.Greater(t, accepted, 100)
	}
}

// combinations returns all lists of this length whose elements are in parts.
func combinations(parts []string, length int) (topics [][]string) {
	if length == 0 {
		return [][]string{nil}
	}
	for _, shorter := range combinations(parts, length-1) {
		for _, part := range parts {
			topics = append(topics, append(slices.Clone(shorter), part))
		}
	}
	return topics
}
