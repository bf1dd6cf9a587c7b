package explorer

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/dynamic/explorer"
)

const (
	// servers is the number of servers of the large fleet.
	servers = 1000
	// maxFirstView is the maximum time from the request for the page until the page shows the
	// fleet. It is five times the goal of 200 ms, because other tests use the machine at the same
	// time.
	maxFirstView = time.Second
	// maxTransferred is how many bytes the first view may transfer.
	maxTransferred = 120_000
)

// watchFirstView makes a page record when it first shows the fleet, in milliseconds after its
// request.
const watchFirstView = `(() => {
	const look = () => {
		if (document.querySelector('tr[data-key="server-0000"]')?.checkVisibility()) globalThis.firstView = performance.now();
		else requestAnimationFrame(look);
	};
	globalThis.firstView = 0;
	requestAnimationFrame(look);
})()`

// The first view of a fleet with many servers must be fast and small. The test prints its
// measurements.
func TestFirstView(t *testing.T) {
	b := bus.NewLocal()
	t.Cleanup(func() { assert.NoError(t, b.Close()) })
	for i := range servers {
		answerFor(t, openShop(t, b, fmt.Sprintf("server-%04d", i), "attic"))
	}
	_, link := explore(t, b, explorer.WithRefresh(time.Minute))

	// The first page logs in, and makes the explorer poll the servers for the first time.
	p := newPage(t)
	call(p, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: watchFirstView})
	p.open(link)
	p.eventually("firstView")
	t.Logf("the very first view: %.0f ms", eval[float64](p, "firstView"))

	var best, transferred float64
	for range 5 {
		p.open("about:blank")
		call(p, network.ClearBrowserCache, cdp.Empty{})
		p.open(link)
		p.eventually("firstView")
		if took := eval[float64](p, "firstView"); best == 0 || took < best {
			best = took
		}
		transferred = eval[float64](p, `[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')].
			reduce((sum, entry) => sum + entry.transferSize, 0)`)
	}
	t.Logf("the first view of %d servers: %.0f ms, %.1f KB", servers, best, transferred/1000)
	assert.Less(t, best, float64(maxFirstView.Milliseconds()))
	assert.Less(t, transferred, float64(maxTransferred))
	assert.Positive(t, transferred)

	// The document contains only the visible rows, but the filter must find the other ones, too.
	assert.Less(t, eval[int](p, "document.querySelectorAll('tr').length"), 100)
	p.isAccessible("a large fleet")
	p.fill("textbox", "Filter servers", "host=server-0987")
	p.eventually(`/\b1 of 1.000\b/.test(tester.text())`)
	p.click("link", "server-0987")
	p.has("heading", "server-0987")
}
