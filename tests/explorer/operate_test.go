package explorer

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Without the token of its link, the explorer must not show or return any data.
func TestExplorer_NeedsTheLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokers["redis"](t))
	p := newPage(t)
	p.expectFailures()
	p.open(w.url)
	p.shows("Please open the link of the explorer")
	p.open(w.url + "/?token=wrong")
	p.shows("Please open the link of the explorer")
	assert.Equal(t, http.StatusUnauthorized, eval[int](p, "fetch('/api/fleet').then((response) => response.status)"))
	p.open(w.link)
	p.shows("ada")
}

// Pages that are open must show changes of a server without being reloaded.
func TestServer_DrainedAndResumed(t *testing.T) {
	t.Parallel()
	onEachBroker(t, func(t *testing.T, w *world) {
		fleet, server := openExplorer(t, w), openExplorer(t, w)
		server.visit("#/server/bob")
		server.click("button", "Drain")
		server.click("button", "Drain") // in the dialog
		server.has("button", "Resume")
		fleet.eventually("tester.find('row', 'bob').textContent.includes('draining')")
		server.click("button", "Resume")
		server.has("button", "Drain")
		fleet.eventually("tester.find('row', 'bob').textContent.includes('serving')")
	})
}

// The page Live must not show secrets, because the servers remove them.
func TestLive_WithoutSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokers["nats"](t))
	live, method := openExplorer(t, w), openMethod(t, w, "Everyone")
	live.visit("#/live")
	live.fill("textbox", "Methods", "Shop/Everyone")
	live.click("button", "Start")
	live.shows("Watching 3 servers")
	method.fill("textbox", "Request as JSON", `{"name": "tea", "code": "sesame"}`)
	method.click("button", "Call all servers")
	method.has("option", `"code": "sesame"`)
	live.has("option", `{"name": "tea"`)
	assert.NotContains(t, live.text(), "sesame")
}

// The settings must be stored, and the user's choice must take precedence over the system's.
func TestSettings_Theme(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokers["redis"](t))
	p := openExplorer(t, w)
	p.prefer("light")
	p.visit("#/settings")
	const isDark = "/^rgb\\((\\d|[0-5]\\d),/.test(getComputedStyle(document.body).backgroundColor)"
	require.False(t, eval[bool](p, isDark))
	p.click("radio", "Dark")
	p.eventually(isDark)
	p.open(w.url)
	p.shows("ada")
	assert.True(t, eval[bool](p, isDark))
}
