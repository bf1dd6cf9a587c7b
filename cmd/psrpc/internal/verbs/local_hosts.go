package verbs

import (
	"net"
	"net/http"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
)

// protected wraps handler with onlyLocalHosts if only this machine can reach address and --yes is
// not given. A proxy needs --yes, because it may pass on requests under other names.
func protected(a *app.App, address string, handler http.Handler) http.Handler {
	if listensLocally(address) && !a.Flags.Yes {
		return onlyLocalHosts(handler)
	}
	return handler
}

// listensLocally reports whether only this machine can reach a listener with the address.
func listensLocally(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return true // Listen will return the error
	}
	return isLocal(host)
}

// onlyLocalHosts refuses requests whose Host header is not a name of this machine. This prevents
// DNS rebinding: a web site could let its own name resolve to 127.0.0.1. A browser on this machine
// would then let the site's pages use the handler.
func onlyLocalHosts(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host // without a port
		}
		if !isLocal(host) {
			http.Error(w, "this address is only for this machine: use localhost or 127.0.0.1; behind a proxy, psrpc needs --yes",
				http.StatusMisdirectedRequest)
			return
		}
		handler.ServeHTTP(w, r)
	})
}

func isLocal(host string) bool {
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
