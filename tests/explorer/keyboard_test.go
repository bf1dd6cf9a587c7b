package explorer

import (
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// The most frequent tasks must be possible with the keyboard alone: going from the fleet to a
// method, making a call, and going back.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokers["nats"](t))
	p := openExplorer(t, w)
	p.tabTo("link", "Skip to the content")
	p.press(kb.Enter)
	// A table is a single Tab stop. The arrow keys move the focus from row to row.
	p.tabTo("row", "shop.Orders")
	p.press(kb.ArrowDown)
	p.eventually("tester.focused('row', 'shop.Shop')")
	p.press(kb.Enter)
	p.has("heading", "Shop")
	p.tabTo("row", "Best")
	p.press(kb.ArrowDown + kb.ArrowDown)
	p.eventually("tester.focused('row', 'Get')")
	p.press(kb.Enter)
	p.has("heading", "Get")
	p.tabTo("textbox", "name")
	p.press("tea")
	p.tabTo("button", "Call")
	p.press(kb.Enter)
	p.responds(`"name": "tea"`)

	p.tabTo("link", "Fleet")
	p.press(kb.Enter)
	p.has("heading", "Fleet")
	p.tabTo("row", "ada")
	p.press(kb.Enter)
	p.has("heading", "ada")
}
