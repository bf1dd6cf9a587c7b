package dynamic

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestServerCall_SelectedElsewhere checks that a server which has not claimed a request yet neither
// decodes nor claims it if the client has already selected another server. Both would panic here,
// because the plan has no handler.
func TestServerCall_SelectedElsewhere(t *testing.T) {
	t.Parallel()
	s := &Server{}
	s.pendingClaims.options = &serverOptions{grantTimeout: time.Hour, maxPendingClaims: 1}
	call := &serverCall{plan: &serverPlan{server: s, registration: &Registration{}}}
	id := []byte("REQ_1")
	call.claim = s.pendingClaims.register(id, call, &endpoint{plan: call.plan}, 0, time.Now().Add(time.Minute))
	s.pendingClaims.resolve(id, false)
	frame, parked := call.handle()
	assert.Nil(t, frame)
	assert.False(t, parked)
}
