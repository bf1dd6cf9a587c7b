package guard_test

import (
	"io"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/guard"
)

func TestCall(t *testing.T) {
	t.Parallel()
	assert.NoError(t, guard.Call("f", func() error { return nil }))
	assert.ErrorIs(t, guard.Call("f", func() error { return io.EOF }), io.EOF)

	err := guard.Call("the loader", func() error { panic("out of cheese") })
	coded, ok := errors.AsType[errors.Error](err)
	assert.True(t, ok)
	assert.Equal(t, errors.Internal, coded.Code())
	assert.ErrorContains(t, err, "the loader panicked: out of cheese")
	assert.ErrorContains(t, err, "guard_test.go", "the stack")
}
