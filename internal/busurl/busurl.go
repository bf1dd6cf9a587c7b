package busurl

import (
	"regexp"
	"strings"
)

// parameterName matches the names of URL parameters.
var parameterName = regexp.MustCompile(`^[a-z_]+$`)

// IsParameterName reports whether name has the form of a URL parameter name, so that an error
// message may contain it. Any other text may be the end of a password that contains a question mark
// or an ampersand.
func IsParameterName(name string) bool { return parameterName.MatchString(name) }

// IsSecret reports whether the value of a parameter that should be a file name is probably a
// secret: an nkey seed, a JWT, or the content of a PEM file.
func IsSecret(value string) bool {
	return strings.HasPrefix(value, "eyJ") || strings.Contains(value, "BEGIN ") ||
		strings.HasPrefix(value, "S") && len(value) == 58 && !strings.ContainsAny(value, `./\`)
}

// MayShow reports whether an error message may contain value, the value of a URL parameter. A value
// with an at sign may contain the end of a password.
func MayShow(value string) bool { return !strings.Contains(value, "@") && !IsSecret(value) }
