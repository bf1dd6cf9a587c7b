package explorer

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// openMethod opens the page of a method of the shop.
func openMethod(t testing.TB, w *world, method string) *page {
	t.Helper()
	p := openExplorer(t, w)
	p.visit("#/method/shop.Shop/" + method)
	p.has("heading", method)
	return p
}

// A call of each kind must show the responses of the servers.
func TestMethod_EveryKind(t *testing.T) {
	t.Parallel()
	onEachBroker(t, func(t *testing.T, w *world) {
		p := openMethod(t, w, "Get")
		p.fill("textbox", "name", "green tea")
		p.click("button", "Call")
		p.responds(`"name": "green tea"`)

		p.visit("#/method/shop.Shop/Everyone")
		p.has("heading", "Everyone")
		p.fill("textbox", "name", "black tea")
		p.fill("textbox", "Expected responses", strconv.Itoa(len(rooms)))
		p.click("button", "Call all servers")
		for server := range rooms {
			p.shows(`"stock": {"` + server + `": 1}`)
		}

		p.visit("#/method/shop.Shop/InRoom")
		p.has("heading", "InRoom")
		p.fill("textbox", "Topic floor", "1")
		p.fill("textbox", "Topic room", "bath")
		p.click("button", "Call")
		p.shows(`"bob": 1`)

		p.visit("#/method/shop.Shop/News")
		p.has("heading", "News")
		p.click("button", "Subscribe")
		p.eventually(`/"news \d+"/.test(tester.text())`)
		p.click("button", "Unsubscribe")
		p.eventually("!tester.find('button', 'Unsubscribe')")

		p.visit("#/method/shop.Shop/Talk")
		p.has("heading", "Talk")
		p.click("button", "Open stream")
		for _, text := range []string{"good morning", "good night"} {
			p.has("button", "Send message")
			p.fill("textbox", "name", text)
			p.click("button", "Send message")
			p.shows("you said " + text)
		}
		p.fill("textbox", "name", "bye")
		p.click("button", "Send message")
		p.has("button", "Open stream")
	})
}

// The page must show errors with their code, and must not treat their texts as HTML.
func TestMethod_Error(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokers["redis"](t))
	p := openMethod(t, w, "Get")
	p.expectFailures()
	p.fill("textbox", "name", "fail out_of_range")
	p.click("button", "Call")
	p.has("status", "out_of_range after")
	p.shows("the shop has no <b>fail out_of_range</b>")

	p.click("button", "Metadata")
	p.click("button", "Add metadata")
	p.fill("textbox", "Metadata key 1", "a key")
	p.click("button", "Call")
	p.shows("HTTP headers cannot carry this metadata")
}

// The button Who must show which servers would handle the request, without running a handler.
func TestMethod_Who(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokers["redis"](t))
	p := openMethod(t, w, "Best")
	p.fill("textbox", "name", "tea")
	p.click("button", "Who")
	for server := range rooms {
		p.shows(server)
	}
	p.shows("0.25")
	p.shows("declined")
	p.shows("would be selected")
	for _, shop := range w.shops {
		assert.Zero(t, shop.calls.Load())
	}
}

// A change of the form must appear in the JSON beside it, and a change of the JSON in the form.
func TestMethod_FormAndJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokers["redis"](t))
	p := openMethod(t, w, "Get")
	p.fill("textbox", "name", `a "cup"`)
	p.choose("size", "SIZE_LARGE = 2")
	p.fill("textbox", "count", "3")
	p.eventually(`tester.find('textbox', 'Request as JSON').value.includes('SIZE_LARGE')`)
	require.JSONEq(t, `{"name": "a \"cup\"", "size": "SIZE_LARGE", "count": 3}`, eval[string](p, `tester.find('textbox', 'Request as JSON').value`))

	p.fill("textbox", "Request as JSON", `{"name": "pot", "tags": ["hot"], "box": "12345678901234567890", "stock": {"Rome": 4}}`)
	p.eventually(`tester.find('textbox', 'name').value === 'pot'`)
	p.has("textbox", "tags 1")
	p.click("button", "Call")
	p.responds(`"box": "12345678901234567890"`)
}
