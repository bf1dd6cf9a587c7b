package topictext_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/internal/topictext"
)

func TestJoin(t *testing.T) {
	t.Parallel()
	for want, parts := range map[string][]string{
		"":          nil,
		"eu":        {"eu"},
		"eu.w9":     {"eu", "w9"},
		`"a.b".c`:   {"a.b", "c"},
		`a."b.c"`:   {"a", "b.c"},
		`"".w9`:     {"", "w9"},
		`""`:        {""},
		`"\"a\"".b`: {`"a"`, "b"},
		`"\xff"`:    {"\xff"},
		"größe.\t":  {"größe", "\t"},
	} {
		assert.Equal(t, want, topictext.Join(parts))
	}
}
