package busurl_test

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/internal/busurl"
)

func TestQuery(t *testing.T) {
	t.Parallel()
	query, err := busurl.Query(&url.URL{RawQuery: "a=1&a=2"})
	require.NoError(t, err)
	assert.Equal(t, url.Values{"a": {"1", "2"}}, query)

	query, err = busurl.Query(&url.URL{RawQuery: "a=1&secret%zz=2"})
	require.ErrorContains(t, err, "malformed parameters")
	assert.NotContains(t, err.Error(), "secret")
	assert.Equal(t, url.Values{"a": {"1"}}, query)
}

func TestLastAndTake(t *testing.T) {
	t.Parallel()
	query := url.Values{"a": {"1", "2"}, "empty": {""}}
	for _, tt := range []struct {
		name, value string
		found       bool
	}{{"a", "2", true}, {"empty", "", true}, {"missing", "", false}} {
		value, found := busurl.Last(query, tt.name)
		assert.Equal(t, tt.value, value)
		assert.Equal(t, tt.found, found)
	}
	value, found := busurl.Take(query, "a")
	assert.Equal(t, "2", value)
	assert.True(t, found)
	_, found = busurl.Take(query, "a")
	assert.False(t, found)
	assert.Equal(t, url.Values{"empty": {""}}, query)
}

func TestCheckKeyPair(t *testing.T) {
	t.Parallel()
	require.NoError(t, busurl.CheckKeyPair("", ""))
	require.NoError(t, busurl.CheckKeyPair("cert.pem", "key.pem"))
	require.ErrorContains(t, busurl.CheckKeyPair("cert.pem", ""), "need each other")
	require.ErrorContains(t, busurl.CheckKeyPair("", "key.pem"), "need each other")
}
