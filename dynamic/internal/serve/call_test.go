package serve

import (
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
)

// TestCall_SelectedElsewhere checks that a server which has not claimed a request yet neither
// decodes nor claims it if the client has already selected another server. Both would panic here,
// because the plan has no handler.
func TestCall_SelectedElsewhere(t *testing.T) {
	t.Parallel()
	e := &Engine{}
	e.pendingClaims.config = &Config{GrantTimeout: time.Hour, MaxPendingClaims: 1}
	c := &call{requestBase: requestBase{endpoint: &endpoint{plan: &plan{engine: e, service: &Service{}}}}}
	id := []byte("REQ_1")
	c.claim = e.pendingClaims.register(id, c, c.endpoint, 0, time.Now().Add(time.Minute))
	e.pendingClaims.resolve(id, false)
	frame, parked := c.handle()
	assert.Nil(t, frame)
	assert.False(t, parked)
}

// A call is allocated for each request, so it must fit into the allocator's size class of 240
// bytes.
func TestCall_Size(t *testing.T) {
	t.Parallel()
	assert.LessOrEqual(t, unsafe.Sizeof(call{}), uintptr(240))
}
