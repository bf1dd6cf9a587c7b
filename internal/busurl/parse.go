package busurl

import (
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// encodeHint tells the user how to correct a URL that cannot be parsed because of its password.
const encodeHint = "percent-encode the user name and the password (/ as %2F, ? as %3F, # as %23, @ as %40, % as %25)"

// urlScheme matches the scheme of a URL that has an authority.
var urlScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)

// Parse parses the URL of a bus. If a password is not percent-encoded, a part of it may become the
// host, the path, a parameter or the fragment. Parse rejects such URLs, because drivers include
// these parts in their error messages. The errors of Parse contain no part of the URL except the
// scheme. They do not wrap the errors of package url, which may contain the password.
func Parse(rawURL string) (*url.URL, error) {
	scheme := strings.TrimSuffix(urlScheme.FindString(rawURL), "://")
	u, err := url.Parse(rawURL)
	switch {
	case err != nil && !strings.Contains(rawURL, "://"):
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"cannot parse bus URL: the scheme is missing; want scheme://user:password@host:port, such as nats://127.0.0.1:4222")
	case err != nil:
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"cannot parse bus URL%s: %s; want scheme://user:password@host:port, such as nats://127.0.0.1:4222",
			withScheme(scheme), encodeHint)
	case scheme == "" && (u.Opaque != "" || u.Path != "" && u.Scheme != ""):
		// The text before the colon may be a user name or a token, so the error must not contain
		// it.
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"cannot parse bus URL: // is missing after the scheme; want scheme://user:password@host:port, and %s", encodeHint)
	case hasStrayUserinfo(u):
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"bus URL%s has an @ or a # where none belongs: %s, and each @ in the parameters", withScheme(scheme), encodeHint)
	case !hasValidPorts(u.Host):
		return nil, errors.NewErrorf(errors.InvalidArgument,
			"bus URL%s has a port that is not between 1 and 65535: want scheme://user:password@host:port, and %s",
			withScheme(scheme), encodeHint)
	}
	return u, nil
}

func withScheme(scheme string) string {
	if scheme == "" {
		return ""
	}
	return " " + scheme + "://"
}

// hasStrayUserinfo reports whether the path, a parameter or the fragment of u seems to contain the
// rest of the user name or password. This happens if the user name or password contains an
// unescaped slash, question mark or hash.
func hasStrayUserinfo(u *url.URL) bool {
	if u.Fragment != "" || strings.Contains(u.Host+u.Path, "@") {
		return true
	}
	for parameter := range strings.SplitSeq(u.RawQuery, "&") {
		// If the URL has a user and the parameter has a valid name, an @ in the parameter belongs
		// to its value.
		name, _, hasValue := strings.Cut(parameter, "=")
		if strings.Contains(parameter, "@") && (u.User == nil || !hasValue || !IsParameterName(name)) {
			return true
		}
	}
	return false
}

// hasValidPorts reports whether all ports in a comma-separated list of hosts are numbers from 1 to
// 65535. A host without a port is valid.
func hasValidPorts(hosts string) bool {
	for host := range strings.SplitSeq(hosts, ",") {
		_, port, err := net.SplitHostPort(host)
		if err != nil || port == "" {
			continue // this host has no port
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return false
		}
	}
	return true
}
