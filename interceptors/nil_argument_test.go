package interceptors_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/internal/testservice"
)

// Nil loggers, hooks and options must be ignored. A call must fail if the function that provides or
// checks its token is nil.
func TestNilArguments(t *testing.T) {
	t.Parallel()
	s := testservice.New(t, testservice.Config{
		Server: []dynamic.ServerOption{
			interceptors.Logging(nil, nil, interceptors.WithLevels(nil)), interceptors.Recovery(nil, nil),
			interceptors.ErrorMask(nil, nil, interceptors.WithMaskHook(nil)),
		},
		Conn: []dynamic.ConnOption{
			interceptors.Retry(nil, interceptors.WithIdempotent(nil), interceptors.WithRetryFunc(nil)),
			interceptors.AuthToken(interceptors.StaticToken("secret"), nil),
		},
		Handle: func(context.Context, testservice.Text) (testservice.Text, error) { return nil, errors.New("masked") },
	})
	_, err := s.Call(t.Context(), testservice.Ask, "Rome")
	require.ErrorIs(t, err, errors.Internal)
	var noContext context.Context
	assert.Equal(t, 1, interceptors.Attempt(noContext))

	for _, config := range []testservice.Config{
		{Server: []dynamic.ServerOption{interceptors.Auth(nil, nil)}},
		{Conn: []dynamic.ConnOption{interceptors.AuthToken(nil, nil)}},
	} {
		_, err := testservice.New(t, config).Call(t.Context(), testservice.Ask, "Rome")
		require.Error(t, err)
	}
}
