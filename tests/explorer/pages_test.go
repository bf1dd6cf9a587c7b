package explorer

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// views contains all pages: the name, the route, and a text that the page shows when it is ready.
var views = []struct {
	name, route, ready string
	// prepare makes the page show what its picture in docs/explorer.md shows.
	prepare func(p *page)
}{
	{"fleet", "#/fleet", "ada", func(p *page) { p.eventually(`tester.find('img', 'Calls per second')`) }},
	{"service", "#/service/shop.Shop", "Everyone", nil},
	{"method", "#/method/shop.Orders/Place", "some pieces of an item", func(p *page) {
		p.fill("textbox", "item", "green tea")
		p.fill("textbox", "pieces", "4")
		p.click("button", "Call")
		p.shows(`"cents": 1000`)
	}},
	{"who", "#/method/shop.Shop/Best", "highest affinity", func(p *page) {
		p.click("button", "Who")
		p.shows("declined")
	}},
	{"server", "#/server/ada", "ada.example", nil},
	{"topology", "#/topology", "bob", nil},
	{"live", "#/live", "Press Start", func(p *page) {
		p.click("button", "Start")
		p.eventually("tester.all('option', 'Shop/').length > 8 || tester.text().includes('not_found')")
		p.click("button", "Pause")
	}},
	{"doctor", "#/doctor", "the check stock fails", nil},
	{"history", "#/history", "Calls", nil},
	{"settings", "#/settings", "Colors", nil},
}

// openExplorer opens the explorer of w with the link that a program prints.
func openExplorer(t testing.TB, w *world) *page {
	t.Helper()
	p := newPage(t)
	p.open(w.link)
	p.shows("ada")
	assert.NotContains(t, p.location(), "token", "the token stays in the history of the browser")
	return p
}

// visit goes to a page of the explorer that is open.
func (p *page) visit(route string) {
	p.t.Helper()
	p.eventually("(location.hash = %s, true)", route)
}

// fits requires that the page does not scroll to the side, and has no empty space below its
// content.
func (p *page) fits() {
	p.t.Helper()
	p.eventually("document.documentElement.scrollWidth <= innerWidth")
	p.eventually(`document.documentElement.scrollHeight <=
		Math.max(innerHeight, scrollY + Math.ceil(document.querySelector('main').getBoundingClientRect().bottom))`)
}

// The page Fleet must also show servers that do not answer, if the broker knows them.
func TestFleet_ShowsPsrpc(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokers["redis"](t))
	p := openExplorer(t, w)
	p.shows("+1 psrpc")
	p.click("link", "Room")
	p.has("heading", "Room")
	p.shows("The schema is not known.")
	p.shows("Join")
}

// Each page must work in light and dark, without violations of accessibility rules. At a zoom of
// 200 %, nothing may be cut off or need scrolling to the side.
func TestPages(t *testing.T) {
	t.Parallel()
	onEachBroker(t, func(t *testing.T, w *world) {
		w.goShopping(t)
		p := openExplorer(t, w)
		for _, view := range views {
			for _, scheme := range []string{"light", "dark"} {
				p.prefer(scheme)
				p.visit(view.route)
				p.shows(view.ready)
				p.fits()
				p.isAccessible(view.name + ", " + scheme)
			}
			p.eventually("[...document.querySelectorAll('.table-view, .topology')].every((view) => view.scrollWidth <= view.clientWidth)")
			p.zoom(2)
			p.fits()
			p.isAccessible(view.name + ", zoomed")
			p.zoom(1)
		}
	})
}
