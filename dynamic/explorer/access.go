package explorer

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// minToken is the minimum length of a token.
const minToken = 16

// contentPolicy is the Content-Security-Policy of the pages. They may only load the explorer's own
// files and send requests to the explorer.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// access decides which requests reach the explorer. It refuses requests without the token or the
// cookie. It also refuses requests from web pages of other sites, even if the browser has the
// cookie.
type access struct {
	token      string
	needsToken bool
	// cookie is the name of the cookie. It depends on the token, because browsers share the cookies
	// of all ports of a host, and several explorers may run on one host.
	cookie string
	// session is the value of the cookie. It differs from the token. Browsers also send the cookie
	// to servers on other ports of the host, and these must not learn the token.
	session     string
	hosts       []string
	crossOrigin *http.CrossOriginProtection
}

func newAccess(o *options) *access {
	sum := func(purpose string) string {
		hash := sha256.Sum256([]byte(purpose + ":" + o.token))
		return hex.EncodeToString(hash[:])
	}
	return &access{
		token: o.token, needsToken: o.authorize == nil, hosts: o.hosts,
		cookie: "psrpc-explorer-" + sum("name")[:8], session: sum("session"),
		crossOrigin: http.NewCrossOriginProtection(),
	}
}

func (a *access) queryToken() string { return url.QueryEscape(a.token) }

// protect returns a handler that passes the requests of permitted clients to next.
func (a *access) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setSecurityHeaders(w.Header())
		if !a.isOwnHost(r.Host) {
			http.Error(w, "the explorer is not for this host: use localhost or 127.0.0.1, or name the host with explorer.WithHosts",
				http.StatusMisdirectedRequest)
			return
		}
		// Links from other sites may lead to the start page only.
		isPage := r.Method == http.MethodGet && r.URL.Path == "/"
		if !isPage && !a.isSameOrigin(r) {
			writeError(w, errors.NewErrorf(errors.PermissionDenied, "the explorer is not for web pages of other sites"))
			return
		}
		if !a.needsToken {
			next.ServeHTTP(w, r)
			return
		}
		if token := r.URL.Query().Get("token"); isPage && token != "" && isEqual(token, a.token) {
			a.logIn(w, r)
			return
		}
		if !a.isLoggedIn(r) {
			refuseStranger(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func setSecurityHeaders(header http.Header) {
	header.Set("Content-Security-Policy", contentPolicy)
	header.Set("X-Frame-Options", "DENY")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// isOwnHost reports whether the Host of a request is one of the explorer's own names. This prevents
// DNS rebinding, by which a page of another site makes its own name resolve to this machine.
func (a *access) isOwnHost(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = hostPort // without a port
	}
	host = strings.Trim(host, "[]")
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() || strings.EqualFold(host, "localhost") {
		return true
	}
	return slices.ContainsFunc(a.hosts, func(own string) bool { return own == "*" || strings.EqualFold(own, host) })
}

// isSameOrigin reports whether a request comes from the explorer's own pages or from a client that
// is not a browser. The check in net/http allows every GET request, but WebSockets and server-sent
// events use GET for calls, so isSameOrigin treats each request as a POST request.
func (a *access) isSameOrigin(r *http.Request) bool {
	asPost := http.Request{Method: http.MethodPost, Header: r.Header, Host: r.Host}
	return a.crossOrigin.Check(&asPost) == nil
}

func isEqual(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// welcomePage is a page that immediately opens the start page. An HTTP redirect does not work here.
// If the link was on a page of another site, browsers would not send the cookie to the target of
// the redirect.
const welcomePage = `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url=./">
<title>psrpc explorer</title>
<link rel="icon" href="data:,">
<a href="./">psrpc explorer</a>
`

// logIn exchanges the token in the URL for a cookie, so that the token is not kept in the history
// of the browser.
func (a *access) logIn(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // without TLS, browsers would not send a secure cookie
		Name: a.cookie, Value: a.session, Path: "/",
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	})
	writePage(w, http.StatusOK, welcomePage)
}

// writePage writes an HTML page that browsers must not store.
func writePage(w http.ResponseWriter, status int, page string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, page)
}

// isLoggedIn reports whether a request has the cookie, or the token as a bearer token.
func (a *access) isLoggedIn(r *http.Request) bool {
	// Other programs on the same host may have set a cookie with the same name.
	for _, cookie := range r.CookiesNamed(a.cookie) {
		if isEqual(cookie.Value, a.session) {
			return true
		}
	}
	return a.hasBearerToken(r)
}

func (a *access) hasBearerToken(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && isEqual(token, a.token)
}

// withoutToken returns the request for the gateway, without the explorer's own cookie and token.
func (a *access) withoutToken(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	if a.hasBearerToken(r) {
		r.Header.Del("Authorization")
	}
	cookies := r.Cookies()
	r.Header.Del("Cookie")
	for _, cookie := range cookies {
		if cookie.Name != a.cookie {
			r.AddCookie(cookie)
		}
	}
	return r
}

// strangerPage is the page for a person without the cookie. It says how to get one.
const strangerPage = `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>psrpc explorer</title>
<link rel="icon" href="data:,">
<h1>Please open the link of the explorer</h1>
<p>The program that serves the explorer has printed a link that contains a token. Open that link once in this
browser. It stays valid until the program ends.</p>
`

func refuseStranger(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/api/") || strings.HasPrefix(r.URL.Path, "/rpc/") {
		writeError(w, errors.NewErrorf(errors.Unauthenticated, "open the link that the explorer's program has printed"))
		return
	}
	writePage(w, http.StatusUnauthorized, strangerPage)
}
