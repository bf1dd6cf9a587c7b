package metrics

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTopics_AreBounded(t *testing.T) {
	t.Parallel()
	const maximum, users = 100, 8
	topics := &topics{maximum: maximum}
	var mu sync.Mutex
	labels := map[string]int{}
	var wait sync.WaitGroup
	for range users {
		wait.Go(func() {
			for i := range 10 * maximum {
				label := topics.label([]string{"room", strconv.Itoa(i)})
				mu.Lock()
				labels[label]++
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	assert.Len(t, labels, maximum+1)
	assert.Positive(t, labels[otherTopic])
	for label, n := range labels {
		if label != otherTopic {
			assert.Equal(t, users, n, "a topic that is told apart once is always told apart")
		}
	}
}

func TestTopics_Labels(t *testing.T) {
	t.Parallel()
	topics := &topics{maximum: 4}
	for _, test := range []struct {
		topic []string
		want  string
	}{
		{nil, ""}, {[]string{"eu"}, "eu"}, {[]string{"eu", "\xff"}, `eu."\xff"`}, {[]string{strings.Repeat("x", 257)}, otherTopic},
		{[]string{"x.y", "z"}, `"x.y".z`}, {[]string{"us"}, otherTopic}, {[]string{"eu"}, "eu"}, {nil, ""},
	} {
		assert.Equal(t, test.want, topics.label(test.topic))
	}
}
