package busurl

import (
	"net/url"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Query parses the parameters of u. If some of them are malformed, Query returns the others and an
// error, which repeats no part of u.
func Query(u *url.URL) (url.Values, error) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return query, errors.New("malformed parameters: percent-encode them, and the password")
	}
	return query, nil
}

// Last returns the value of a parameter, and whether query contains the parameter. If query
// contains it more than once, the last value counts.
func Last(query url.Values, name string) (value string, found bool) {
	values := query[name]
	if len(values) == 0 {
		return "", false
	}
	return values[len(values)-1], true
}

// Take is like Last, but also removes the parameter from query.
func Take(query url.Values, name string) (value string, found bool) {
	value, found = Last(query, name)
	query.Del(name)
	return value, found
}

// CheckKeyPair returns an error unless the parameters tls_cert and tls_key, which name the files of
// a client certificate and its key, are both set or both empty.
func CheckKeyPair(cert, key string) error {
	if (cert == "") != (key == "") {
		return errors.New("tls_cert and tls_key need each other")
	}
	return nil
}
