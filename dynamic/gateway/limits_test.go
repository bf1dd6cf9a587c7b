package gateway_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/dynamic/gateway"
)

// Calls beyond the limit must be refused at once, and the others must not be affected.
func TestLimits_OfRunningCalls(t *testing.T) {
	t.Parallel()
	f := newFixture(t, gateway.WithMaxCalls(1))
	goAway := f.startCall(t)
	r := f.post(t, "/shop.Shop/Get", `{}`)
	assert.Equal(t, http.StatusTooManyRequests, r.status)
	assert.Equal(t, "1", r.header.Get("Retry-After"))
	assert.Contains(t, r.body, "too many running calls")
	assert.Equal(t, http.StatusOK, f.post(t, "/shop.Shop/Everyone", `{}`, "Accept: text/event-stream").status)
	goAway()
	assert.Eventually(t, func() bool { return f.post(t, "/shop.Shop/Get", `{}`).status == http.StatusOK }, patience, time.Millisecond)
}

// If a server is overloaded, the response must have the header Retry-After, too.
func TestLimits_RetryAfterOfAServer(t *testing.T) {
	t.Parallel()
	r := newFixture(t).post(t, "/shop.Shop/Get", `{"name": "fail resource_exhausted"}`)
	assert.Equal(t, http.StatusTooManyRequests, r.status)
	assert.Equal(t, "1", r.header.Get("Retry-After"))
}
