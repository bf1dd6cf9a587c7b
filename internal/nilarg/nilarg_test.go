package nilarg_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

func TestIs(t *testing.T) {
	t.Parallel()
	var pointer *bytes.Buffer
	var function func()
	for _, value := range []any{nil, pointer, io.Reader(pointer), function} {
		assert.True(t, nilarg.Is(value), "%T", value)
	}
	for _, value := range []any{new(bytes.Buffer), 0, "", func() {}, map[string]int(nil), []int(nil)} {
		assert.False(t, nilarg.Is(value), "%T", value)
	}
}
