package busurl_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/dynpsrpc/dynpsrpc/internal/busurl"
)

func TestIsParameterName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"tls_ca": true, "a": true, "": false, "A": false, "pa55": false, "x@h": false, "a=b": false} {
		assert.Equal(t, want, busurl.IsParameterName(name), name)
	}
}

func TestMayShow(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{
		"/etc/ca.pem": true, "3s": true, "": true,
		"eyJhbGciOi": false, "-----BEGIN PRIVATE KEY-----": false, "S" + strings.Repeat("A", 57): false, "3s@host": false,
	} {
		assert.Equal(t, want, busurl.MayShow(value), value)
	}
}
