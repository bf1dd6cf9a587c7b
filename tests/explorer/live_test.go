package explorer

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The page Live must show calls as they happen, link to their methods, and show mistakes in a
// filter.
func TestLive_WatchesServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokers["redis"](t))
	w.goShopping(t)
	p := openExplorer(t, w)
	p.expectFailures() // a wrong filter is an HTTP error
	p.visit("#/live")
	p.has("heading", "Live")
	p.fill("textbox", "Methods", "Shop/Get")
	p.fill("textbox", "Filter", `duration >`)
	p.press("\t")
	p.shows("Syntax error")
	p.fill("textbox", "Filter", `kind == "request" && message.name.startsWith("te")`)
	p.press("\t")
	p.click("button", "Start")
	p.shows("Watching 3 servers")
	p.has("option", `{"name": "tea"`)
	p.click("button", "Pause")
	p.click("option", `{"name": "tea"`)
	p.isAccessible("live, an event chosen")
	p.click("link", "Open in Method")
	p.has("heading", "Get")
	p.eventually(`tester.find('textbox', 'name').value === 'tea'`)
}

// The page Live can also show a subscription, and its display can be paused.
func TestLive_Subscribes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokers["nats"](t))
	p := openExplorer(t, w)
	p.visit("#/live")
	p.click("radio", "Subscribe")
	p.has("combobox", "Subscription")
	p.click("button", "Start")
	p.eventually(`/news \d+/.test(tester.text())`)
	p.click("button", "Pause")
	p.has("button", "Resume (")
	p.eventually(`!tester.find('button', 'Resume (0')`)
	p.click("button", "Resume")
	p.click("button", "Stop")
	p.shows("Stopped")
}

// The page History must list the calls without their secrets, and must be able to fill in the form
// with an earlier call.
func TestHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokers["redis"](t))
	p := openMethod(t, w, "Get")
	p.expectFailures()
	// Delete the function randomUUID, which browsers do not offer to pages of other machines
	// without TLS.
	require.True(t, eval[bool](p, "delete Crypto.prototype.randomUUID"))
	p.fill("textbox", "JSON", `{"name": "fail not_found", "code": "sesame", "box": "12345678901234567890"}`)
	p.click("button", "Metadata")
	p.click("button", "Add metadata")
	p.fill("textbox", "Metadata key 1", "authorization")
	p.fill("textbox", "Metadata value 1", "Bearer of a secret ☺")
	p.click("button", "Call")
	p.shows("the shop has no")
	p.click("button", "Save as example")
	p.fill("textbox", "Name", "sold out")
	p.press("\r")
	p.shows("1 example")

	p.visit("#/history")
	p.has("heading", "History")
	p.shows("not_found")
	p.has("link", "sold out")
	p.isAccessible("history with a call and an example")
	kept := eval[string](p, "JSON.stringify(localStorage)")
	assert.NotContains(t, kept, "sesame")
	assert.NotContains(t, kept, "Bearer")
	assert.Contains(t, kept, "[redacted]")
	p.visit(eval[string](p, "tester.find('link', 'sold out').getAttribute('href')"))
	p.has("heading", "Get")
	require.JSONEq(t, `{"name": "fail not_found", "code": "[redacted]", "box": "12345678901234567890"}`,
		eval[string](p, `tester.find('textbox', 'JSON').value`))
}

// A tap must resume when the broker is back.
func TestLive_BrokerBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokers["redis"](t))
	w.goShopping(t)
	p := openExplorer(t, w)
	p.expectFailures()
	p.visit("#/live?method=Shop/*")
	p.shows("Watching 3 servers")
	p.has("option", "Shop/Get")
	w.broker.Kill()
	p.shows("Not connected")
	w.broker.Start()
	p.shows("Watching 3 servers")
	p.click("button", "Clear")
	p.has("option", "Shop/Get")
}
