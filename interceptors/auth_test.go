package interceptors

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/internal/testservice"
)

type userKey struct{}

// userOf is a VerifyFunc that accepts only the token of the user Ada.
func userOf(ctx context.Context, token string, info dynamic.RPCInfo) (context.Context, error) {
	switch {
	case token == "nobody":
		return nil, errors.NewErrorf(errors.PermissionDenied, "nobody may not call %s", info.Method)
	case token != "ada's":
		return nil, errors.New("a secret about tokens")
	}
	return context.WithValue(ctx, userKey{}, "Ada"), nil
}

// newAuthService starts a service that responds with the name of the user. On a stream, the name is
// the first message.
func newAuthService(t testing.TB, server dynamic.ServerOption, conn ...dynamic.ConnOption) *testservice.Service {
	t.Helper()
	name := func(ctx context.Context) testservice.Text {
		name, _ := ctx.Value(userKey{}).(string)
		return say(name)
	}
	return testservice.New(t, testservice.Config{
		Server: []dynamic.ServerOption{server}, Conn: conn,
		Handle: func(ctx context.Context, _ testservice.Text) (testservice.Text, error) { return name(ctx), nil },
		Talk:   func(stream testservice.Stream) error { return stream.Send(name(stream.Context())) },
	})
}

// testEachKind makes a call, makes a multi call and opens a stream. It passes the result of each of
// them to check.
func testEachKind(t *testing.T, s *testservice.Service, check func(t *testing.T, user string, err error)) {
	t.Helper()
	t.Run("call", func(t *testing.T) {
		user, err := s.Call(t.Context(), testservice.Ask, "Rome")
		check(t, user, err)
	})
	t.Run("multi call", func(t *testing.T) {
		user, err := s.CallAll(t.Context(), "Rome")
		check(t, user, err)
	})
	t.Run("stream", func(t *testing.T) {
		stream, err := s.Open(t.Context())
		user := ""
		if err == nil {
			user = (<-stream.Channel()).GetValue()
			<-stream.Context().Done()
		}
		check(t, user, err)
	})
}

func TestAuth_Admits(t *testing.T) {
	t.Parallel()
	s := newAuthService(t, Auth(userOf), AuthToken(StaticToken("ada's")))
	testEachKind(t, s, func(t *testing.T, user string, err error) {
		t.Helper()
		require.NoError(t, err)
		assert.Equal(t, "Ada", user, "the context is that of the verify function")
	})
}

func TestAuth_Refuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		conn []dynamic.ConnOption
		auth dynamic.ServiceOption
		code errors.ErrorCode
		text string
	}{
		{"no token", nil, Auth(userOf), errors.Unauthenticated, "no token in metadata"},
		{"empty token", []dynamic.ConnOption{AuthToken(StaticToken(""))}, Auth(userOf), errors.Unauthenticated, "no token in metadata"},
		{"another scheme", []dynamic.ConnOption{AuthToken(StaticToken("ada's"), WithAuthScheme("Basic"))}, Auth(userOf), errors.Unauthenticated, "no token in metadata"},
		{"another key", []dynamic.ConnOption{AuthToken(StaticToken("ada's"), WithAuthKey("Authorization"))}, Auth(userOf), errors.Unauthenticated, "no token in metadata"},
		{"bad token", []dynamic.ConnOption{AuthToken(StaticToken("eve's"))}, Auth(userOf), errors.Unauthenticated, "token was not accepted"},
		{"no permission", []dynamic.ConnOption{AuthToken(StaticToken("nobody"))}, Auth(userOf), errors.PermissionDenied, "nobody may not call "},
		{"no verify function", []dynamic.ConnOption{AuthToken(StaticToken("ada's"))}, Auth(nil), errors.Unauthenticated, "token was not accepted"},
		{"neither", nil, Auth(nil), errors.Unauthenticated, "no token in metadata"},
		{"no token function", []dynamic.ConnOption{AuthToken(nil)}, Auth(userOf), errors.InvalidArgument, "AuthToken: token function is nil"},
		{"failing token function", []dynamic.ConnOption{AuthToken(func(_ context.Context, info dynamic.RPCInfo) (string, error) {
			return "ada's", errors.NewErrorf(errors.Unavailable, "no token for %s", info.Method)
		})}, Auth(userOf), errors.Unavailable, "no token for "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			testEachKind(t, newAuthService(t, tt.auth, tt.conn...), func(t *testing.T, _ string, err error) {
				t.Helper()
				assert.Contains(t, requireCode(t, tt.code, err).Error(), tt.text)
			})
		})
	}
}

func TestAuth_KeyAndScheme(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string][2][]AuthOption{
		"key":        {{WithAuthKey("k")}, {WithAuthKey("k")}},
		"no scheme":  {{WithAuthScheme("")}, {WithAuthScheme("")}},
		"scheme":     {{WithAuthScheme("Token")}, {WithAuthScheme("Token")}},
		"other case": {nil, {WithAuthScheme("bEARER")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newAuthService(t, Auth(userOf, opts[0]...), AuthToken(StaticToken("ada's"), opts[1]...))
			testEachKind(t, s, func(t *testing.T, user string, err error) {
				t.Helper()
				require.NoError(t, err)
				assert.Equal(t, "Ada", user)
			})
		})
	}
}

// TestAuth_PublicMethods checks that public methods need no token and that clients send none to
// them.
func TestAuth_PublicMethods(t *testing.T) {
	t.Parallel()
	public := WithPublicMethods(testservice.Ask, testservice.AskAll, testservice.Talk)
	s := newAuthService(t, Auth(userOf, public), AuthToken(func(context.Context, dynamic.RPCInfo) (string, error) {
		return "", errors.New("there is none")
	}, public))
	testEachKind(t, s, func(t *testing.T, user string, err error) {
		t.Helper()
		require.NoError(t, err)
		assert.Empty(t, user)
	})
	_, err := s.Call(t.Context(), testservice.Look, "Rome")
	require.Error(t, err)
}

// TestAuth_SameContext checks that handlers receive the original context if the verify function
// returns a nil context.
func TestAuth_SameContext(t *testing.T) {
	t.Parallel()
	s := newAuthService(t, Auth(func(context.Context, string, dynamic.RPCInfo) (context.Context, error) {
		return nil, nil //nolint:nilnil // the test needs a nil context without an error
	}), AuthToken(StaticToken("any")))
	testEachKind(t, s, func(t *testing.T, user string, err error) {
		t.Helper()
		require.NoError(t, err)
		assert.Empty(t, user)
	})
}

// TestAuthToken_Metadata checks that the token is added to other metadata, and that a token in the
// options of a call takes precedence.
func TestAuthToken_Metadata(t *testing.T) {
	t.Parallel()
	seen := make(chan map[string]string, 1)
	s := testservice.New(t, testservice.Config{
		Conn: []dynamic.ConnOption{AuthToken(StaticToken("ada's"))},
		Handle: func(ctx context.Context, request testservice.Text) (testservice.Text, error) {
			incoming, _ := dynamic.RequestInfoFromContext(ctx)
			seen <- incoming.Metadata
			return request, nil
		},
	})
	ctx := dynamic.ContextWithMetadata(t.Context(), map[string]string{"k": "v"})
	_, err := s.Call(ctx, testservice.Ask, "Rome")
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"k": "v", "authorization": "Bearer ada's"}, <-seen)
	_, err = s.Call(ctx, testservice.Ask, "Rome", dynamic.WithMetadata(map[string]string{"authorization": "own"}))
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"k": "v", "authorization": "own"}, <-seen)
}
