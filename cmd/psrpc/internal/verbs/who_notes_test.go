package verbs

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// The notes must say whether servers have kept silent. On a bus that does not count receivers, they
// must say that the number is unknown, unless all known servers have answered.
func TestWhoNotes(t *testing.T) {
	t.Parallel()
	const queue = "the method is a queue: the bus gives each request to one of its servers, the next time perhaps to another"
	for name, test := range map[string]struct {
		result dynamic.CandidatesResult
		notes  []string
	}{
		"all have answered": {dynamic.CandidatesResult{Receivers: 2, Complete: true}, nil},
		"some kept silent": {
			dynamic.CandidatesResult{Receivers: 3, Silent: 2},
			[]string{"2 servers of 3 kept silent for 1.5 s: psrpc servers that decline, or servers that hang"},
		},
		"the number is unknown": {
			dynamic.CandidatesResult{Receivers: bus.Unknown, Silent: bus.Unknown},
			[]string{"the bus does not count servers: others may have kept silent for 1.5 s"},
		},
		"the number is unknown, but all known servers have answered": {
			dynamic.CandidatesResult{Receivers: bus.Unknown, Silent: bus.Unknown, Complete: true}, nil,
		},
		"a server of a queue has answered": {
			dynamic.CandidatesResult{Receivers: 1, Complete: true, OneOfSeveral: true}, []string{queue},
		},
		"the server of a queue kept silent": {
			dynamic.CandidatesResult{Receivers: 1, Silent: 1, OneOfSeveral: true},
			[]string{"the server that got the request kept silent for 1.5 s: it declines, or hangs", queue},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.result.Took = 1500 * time.Millisecond
			assert.Equal(t, append(test.notes, "nothing was run"), whoNotes(&test.result))
		})
	}
}
