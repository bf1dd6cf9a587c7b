package verbs_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/clitest"
)

// eventTimes replaces the times of events, which depend on the time zone of this machine.
var eventTimes = clitest.Replace(`(?m)^[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}`, "CLOCK")

// The verb events must first show the servers that have already started, and then changes as they
// happen.
func TestEvents_Golden(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"table", "json", "name"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			b := newBus(t)
			server := &fakeServer{id: "SRV_orders1", age: time.Hour, answer: always(`{"app": "shop", "appVersion": "1.4.2"}`)}
			server.start(t, b)
			var once sync.Once
			// When the start of the server is shown, the verb has already subscribed to changes.
			publish := func(text string) {
				if !strings.Contains(text, "SRV_orders1") {
					return
				}
				once.Do(func() {
					server.change(t, `{"at": "1767355200000000000", "kind": "CHANGE_KIND_REPLACED", "service": "shop.Orders", "digest": "nyxOAQAAAAAAAAAAAAAAAA=="}`)
					server.change(t, `{"at": "1767355201000000000", "kind": "CHANGE_KIND_HEALTH", "service": "shop.Orders", "status": "SERVING_STATUS_NOT_SERVING", "text": "database"}`)
					server.change(t, `{"at": "1767355202000000000", "kind": "CHANGE_KIND_DRAINING"}`)
				})
			}
			result := clitest.Run(t, clitest.Env{Bus: b, OnOutput: publish}, "", "events", "--count", "4", "-o", format)
			clitest.Golden(t, "events-"+format, result, eventTimes, clitest.Replace(`"at":"[^"]*"`, `"at":"AT"`))
		})
	}
}

func TestEvents_SinceNow(t *testing.T) {
	t.Parallel()
	b := newBus(t)
	(&fakeServer{id: "SRV_orders1", answer: always(`{}`)}).start(t, b)
	clitest.Golden(t, "events-now", clitest.Run(t, clitest.Env{Bus: b}, "", "events", "--since", "now", "--for", "50ms"))
	clitest.Golden(t, "events-wrong-since", clitest.Run(t, clitest.Env{Bus: b}, "", "events", "--since", "noon"))
}
