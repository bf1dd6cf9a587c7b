package explorer

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// A page that is open while the broker is killed must show that the broker is unreachable. When the
// broker is back, the page must show the fleet again without a reload.
func TestBroker_KilledAndBack(t *testing.T) {
	t.Parallel()
	onEachBroker(t, func(t *testing.T, w *world) {
		fleet, method := openExplorer(t, w), openMethod(t, w, "Get")
		fleet.expectFailures()
		method.expectFailures()
		w.broker.Kill()
		fleet.has("alert", "")
		method.fill("textbox", "name", "lost")
		method.click("button", "Call")
		method.shows("unavailable")

		w.broker.Start()
		fleet.eventually("!tester.find('alert', '')")
		fleet.shows("ada")
		fleet.shows("serving")
		method.fill("textbox", "name", "found again")
		method.click("button", "Call")
		method.responds(`"name": "found again"`)
	})
}

// A page that loses its connection to the explorer must say so. When the explorer is back, the page
// must show the fleet again without a reload.
func TestExplorer_OutOfReach(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokers["nats"](t))
	proxy := testenv.NewProxy(t, strings.TrimPrefix(w.url, "http://"))
	p := newPage(t)
	p.expectFailures()
	p.open(strings.Replace(w.link, strings.TrimPrefix(w.url, "http://"), proxy.Addr(), 1))
	p.shows("ada")
	p.eventually("tester.find('status', 'Live')")
	proxy.Refuse()
	proxy.Reset()
	p.eventually("!tester.find('status', 'Live')")
	p.isAccessible("the explorer is out of reach")
	proxy.Heal()
	p.eventually("tester.find('status', 'Live')")
	require.NoError(t, w.shops["bob"].Drain(t.Context()))
	p.eventually("tester.find('row', 'bob').textContent.includes('draining')")
}
