package explorer

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Pages, API and gateway must require the cookie from the link, or the token as a bearer token.
func TestExplorer_LetsInWhoHasTheLink(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, path := range []string{"/", "/assets/app.css", "/api/session", "/api/nothing", "/rpc/shop.Shop/Look"} {
		assert.Equal(t, http.StatusUnauthorized, f.do(t, http.MethodGet, path, "").status, path)
		assert.Equal(t, http.StatusUnauthorized, f.do(t, http.MethodGet, path+"?token=wrong", "").status, path)
	}
	assert.Contains(t, f.do(t, http.MethodGet, "/", "").body, "link")
	assert.Equal(t, http.StatusUnauthorized, f.do(t, http.MethodGet, "/api/session?token="+url.QueryEscape(testToken), "").status,
		"the token is only for the link, because URLs are logged")

	link, isLocal := strings.CutPrefix(f.explorer.LoginURL(f.server.URL), f.server.URL)
	require.True(t, isLocal)
	welcome := f.do(t, http.MethodGet, link, "")
	require.Equal(t, http.StatusOK, welcome.status)
	cookie, attributes, _ := strings.Cut(welcome.header.Get("Set-Cookie"), ";")
	assert.NotContains(t, cookie, testToken, "a server on another port receives the cookie")
	assert.Contains(t, attributes, "HttpOnly")
	assert.Contains(t, attributes, "SameSite=Strict")
	for _, path := range []string{"/", "/assets/app.css", "/api/session"} {
		assert.Equal(t, http.StatusOK, f.do(t, http.MethodGet, path, "", "Cookie: "+cookie).status, path)
		assert.Equal(t, http.StatusOK, f.get(t, path).status, path)
	}
	assert.Equal(t, http.StatusUnauthorized, f.do(t, http.MethodGet, "/", "", "Cookie: "+cookie+"0").status)
}

func TestExplorer_RefusesOtherSites(t *testing.T) {
	t.Parallel()
	f := newFixture(t, WithHosts("explorer.example"))
	for _, path := range []string{"/api/session", "/rpc/shop.Shop/Look?connect=v1&encoding=json&message={}", "/assets/app.css"} {
		for _, header := range []string{"Origin: https://evil.example", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"} {
			assert.Equal(t, http.StatusForbidden, f.get(t, path, header).status, "%s with %s", path, header)
		}
		assert.Equal(t, http.StatusOK, f.get(t, path, "Sec-Fetch-Site: same-origin").status, path)
	}
	assert.Equal(t, http.StatusOK, f.get(t, "/", "Sec-Fetch-Site: cross-site").status, "a link may be followed from anywhere")
	assert.Equal(t, http.StatusMisdirectedRequest, f.get(t, "/", "Host: rebound.example").status)
	assert.Equal(t, http.StatusOK, f.get(t, "/", "Host: localhost:1234").status)
	assert.Equal(t, http.StatusOK, f.get(t, "/", "Host: [::1]:1234").status)
	assert.Equal(t, http.StatusOK, f.get(t, "/", "Host: explorer.example").status)
	refused := f.do(t, http.MethodPost, "/api/servers/SRV_one/drain", "", "Authorization: Bearer "+testToken)
	assert.Equal(t, http.StatusForbidden, refused.status, "a form of another site cannot set the header")
	assert.Contains(t, refused.body, "X-Psrpc-Explorer")
	for _, path := range []string{"/", "/api/session", "/api/nothing", "/assets/nothing"} {
		header := f.get(t, path).header
		assert.Contains(t, header.Get("Content-Security-Policy"), "script-src 'self'", path)
		assert.NotContains(t, header.Get("Content-Security-Policy"), "unsafe", path)
		assert.Equal(t, "DENY", header.Get("X-Frame-Options"), path)
		assert.Equal(t, "nosniff", header.Get("X-Content-Type-Options"), path)
		assert.Equal(t, "no-referrer", header.Get("Referrer-Policy"), path)
	}
}

func TestExplorer_ReadOnlyChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t, WithReadOnly())
	for _, verb := range []string{"drain", "resume", "log-level", "reload-plugin"} {
		assert.Equal(t, http.StatusForbidden, f.post(t, "/api/servers/SRV_one/"+verb, "").status, verb)
	}
	assert.Equal(t, http.StatusForbidden, f.call(t, "Get", `{}`).status)
	assert.Equal(t, http.StatusForbidden, f.get(t, "/rpc/shop.Shop/Talk", "Upgrade: websocket", "Connection: Upgrade").status)
	assert.Equal(t, http.StatusOK, f.get(t, "/rpc/shop.Shop/Look?connect=v1&encoding=json&message={}").status)
	for _, path := range []string{
		"/rpc/shop.Shop/Get?connect=v1&encoding=json&message={}", "/rpc/v1/items/1", "/rpc/openapi.json",
		"/rpc/shop.Shop.Look", // a path of google.api.http may match it
	} {
		assert.Equal(t, http.StatusForbidden, f.get(t, path).status, path)
	}
	assert.True(t, f.explorer.onlyReads(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/rpc/shop.Shop/News", nil)))
	assert.Equal(t, http.StatusOK, f.post(t, "/api/who", `{"method": "shop.Shop/Best"}`).status)
	assert.True(t, decode[session](t, f.get(t, "/api/session")).ReadOnly)
}

// Headers in the query of a WebSocket must reach the gateway, because a browser cannot add headers
// to a WebSocket.
func TestExplorer_QueryHeadersOfWebSockets(t *testing.T) {
	t.Parallel()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet,
		"/rpc/shop.Shop/Talk?topic=a&header=psrpc-meta-user:ada:b&header=Psrpc-Select:first&header=Authorization:no&header=Psrpc-&header", nil)
	setQueryHeaders(request)
	assert.Equal(t, http.Header{"Psrpc-Meta-User": {"ada:b"}, "Psrpc-Select": {"first"}, "Psrpc-": {""}}, request.Header)
}

// With WithAuthorize, the function must decide about each action, and no token is needed.
func TestExplorer_AuthorizesEachAction(t *testing.T) {
	t.Parallel()
	f := newFixture(t, WithAuthorize(func(r *http.Request, action Action) error {
		if r.Header.Get("User") == "admin" || r.Header.Get("User") == "viewer" && action == ActionView {
			return nil
		}
		return errors.NewErrorf(errors.PermissionDenied, "%s is not for you", action)
	}))
	assert.NotContains(t, f.explorer.LoginURL(f.server.URL), "token")
	assert.Equal(t, http.StatusForbidden, f.do(t, http.MethodGet, "/", "").status)
	assert.Equal(t, http.StatusForbidden, f.get(t, "/api/session").status)
	assert.Equal(t, http.StatusOK, f.do(t, http.MethodGet, "/", "", "User: viewer").status)
	assert.Contains(t, f.post(t, "/rpc/shop.Shop/Get", `{}`, "User: viewer").body, "call is not for you")
	assert.Contains(t, f.post(t, "/api/servers/SRV_one/drain", ``, "User: viewer").body, "drain is not for you")
	assert.Equal(t, http.StatusOK, f.post(t, "/rpc/shop.Shop/Get", `{}`, "User: admin").status)
}

// The explorer must remove its own cookie and token from requests to the gateway, but keep all
// other cookies.
func TestAccess_RemovesTheToken(t *testing.T) {
	t.Parallel()
	g := newAccess(newOptions([]Option{WithToken(testToken)}))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	require.NoError(t, err)
	request.Header.Set("Authorization", "Bearer "+testToken)
	request.Header.Set("Cookie", "user=ada; "+g.cookie+"="+g.session)
	passed := g.withoutToken(request)
	assert.Empty(t, passed.Header.Get("Authorization"))
	assert.Equal(t, "user=ada", passed.Header.Get("Cookie"))
	request.Header.Set("Authorization", "Bearer of something else")
	assert.Equal(t, "Bearer of something else", g.withoutToken(request).Header.Get("Authorization"))
}

func TestNew_RefusesWrongArguments(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, err := New(nil, http.NotFoundHandler())
	assert.ErrorIs(t, err, errors.InvalidArgument)
	_, err = New(f.explorer.fleet, nil)
	assert.ErrorIs(t, err, errors.InvalidArgument)
	_, err = New(f.explorer.fleet, http.NotFoundHandler(), WithToken("short"))
	assert.ErrorIs(t, err, errors.InvalidArgument)
}

func TestExplorer_ServesItsFiles(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	index := f.get(t, "/", "Accept-Encoding: identity")
	assert.Contains(t, index.body, "<html")
	assert.Equal(t, "text/html; charset=utf-8", index.header.Get("Content-Type"))
	script := f.get(t, "/assets/lib/main.js", "Accept-Encoding: gzip")
	assert.Equal(t, "text/javascript; charset=utf-8", script.header.Get("Content-Type"))
	assert.Equal(t, "gzip", script.header.Get("Content-Encoding"))
	again := f.get(t, "/assets/lib/main.js", "If-None-Match: "+script.header.Get("ETag"))
	assert.Equal(t, http.StatusNotModified, again.status)
	assert.Empty(t, again.body)
	for _, path := range []string{"/assets/", "/assets/nothing.js", "/assets/lib", "/assets/%2e%2e/explorer.go"} {
		assert.Equal(t, http.StatusNotFound, f.get(t, path).status, path)
	}
}
