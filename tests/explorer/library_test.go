package explorer

import (
	_ "embed"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/bus"
)

//go:embed library.js
var library string

// Templates must escape what servers send, and tables must work with very many rows.
func TestLibrary(t *testing.T) {
	t.Parallel()
	b := bus.NewLocal()
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	_, link := explore(t, b)
	p := newPage(t)
	p.open(link)
	p.has("heading", "Fleet")
	assert.Empty(t, eval[[]string](p, library))
}
