package explorer

import (
	"testing"

	"github.com/dynpsrpc/dynpsrpc/dynamic/explorer"
)

// The results of calls must be accessible, in light and dark: errors, affinities, and lists of
// messages.
func TestResult_IsAccessible(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokers["redis"](t))
	p := openMethod(t, w, "Best")
	p.expectFailures()
	inBoth := func(what string) {
		t.Helper()
		for _, scheme := range []string{"light", "dark"} {
			p.prefer(scheme)
			p.isAccessible(what + ", " + scheme)
		}
	}
	p.fill("textbox", "name", "fail out_of_range")
	p.click("button", "Selection")
	p.click("button", "Metadata")
	p.click("button", "Add metadata")
	p.click("button", "Call")
	p.shows("the shop has no")
	inBoth("an error")
	p.click("button", "Who")
	p.shows("would be selected")
	inBoth("who")

	p.visit("#/method/shop.Shop/Everyone")
	p.has("heading", "Everyone")
	p.click("button", "Call all servers")
	p.shows("4 responses")
	p.click("option", "carl")
	inBoth("responses")

	p.visit("#/method/shop.Shop/Talk")
	p.has("heading", "Talk")
	p.click("button", "Open stream")
	p.fill("textbox", "name", "hello")
	p.click("button", "Send message")
	p.click("option", "you said hello")
	inBoth("a stream")
	p.fill("textbox", "JSON", `{"nme": 1`)
	p.shows("is not JSON")
	inBoth("wrong JSON")
}

// In a read-only explorer, a user must be able to call methods without side effects, to subscribe,
// and to use the button Who.
func TestMethod_ReadOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokers["nats"](t))
	w.url, w.link = explore(t, connect(t, w.broker), explorer.WithReadOnly())
	p := openMethod(t, w, "Get")
	p.shows("read only")
	p.eventually(`tester.find('button', 'Call').getAttribute('aria-disabled')`)
	p.visit("#/method/shop.Shop/Look")
	p.has("heading", "Look")
	p.fill("textbox", "name", "a \"cup\" & saucer")
	p.click("button", "Call")
	p.responds(`"name": "a \"cup\" & saucer"`)
	p.visit("#/method/shop.Shop/Best")
	p.has("heading", "Best")
	p.click("button", "Who")
	p.shows("would be selected")
	p.visit("#/method/shop.Shop/News")
	p.has("heading", "News")
	p.click("button", "Subscribe")
	p.eventually("/news \\d+/.test(tester.text())")
}
