package natsbus

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestParseReply(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]struct {
		source    string
		hops      int
		publisher string
	}{
		"":                                     {"", 0, ""},
		"_INBOX.A.1":                           {"", 0, "_INBOX.A.1"},
		"_INBOX.B.2.PASSED.3._INBOX.A.1":       {"_INBOX.B.2", 3, "_INBOX.A.1"},
		"_INBOX.B.2.PASSED.16":                 {"_INBOX.B.2", 16, ""},
		"a.PASSED.by":                          {"", 0, "a.PASSED.by"},
		"a.PASSED.-9.b":                        {"", 0, "a.PASSED.-9.b"},
		"prefix.x._INBOX.B.2.PASSED.1.p.A.b.1": {"prefix.x._INBOX.B.2", 1, "p.A.b.1"},
	} {
		source, hops, publisher := parseReply(reply)
		assert.Equal(t, want.source, source, reply)
		assert.Equal(t, want.hops, hops, reply)
		assert.Equal(t, want.publisher, publisher, reply)
	}
}
