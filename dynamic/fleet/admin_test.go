package fleet

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestAdmin(t *testing.T) {
	t.Parallel()
	var (
		mu    sync.Mutex
		verbs []Verb
		level slog.LevelVar
	)
	reload := func(_ context.Context, name string) (Plugin, error) {
		if name != "prices" {
			return Plugin{}, errors.NewErrorf(errors.NotFound, "no plugin %s", name)
		}
		return Plugin{Name: name, Version: "2", Error: "a secret"}, nil
	}
	s := newServed(t, WithAdmin(LogLevel(&level), ReloadPlugin(reload)), WithAuthorize(func(ctx context.Context, verb Verb) error {
		mu.Lock()
		defer mu.Unlock()
		if info, _ := dynamic.RequestInfoFromContext(ctx); info.Metadata["user"] != "Ada" {
			return errors.NewErrorf(errors.PermissionDenied, "only Ada may do that")
		}
		verbs = append(verbs, verb)
		return nil
	}))
	f, err := New(s.conn)
	require.NoError(t, err)
	ada := dynamic.ContextWithMetadata(t.Context(), map[string]string{"user": "Ada"})
	id := s.server.ID()

	for range 2 {
		state, err := f.Drain(ada, id)
		require.NoError(t, err)
		assert.Equal(t, StateDraining, state)
		require.Error(t, s.get(t, `{}`))
	}
	state, err := f.Resume(ada, id)
	require.NoError(t, err)
	assert.Equal(t, StateServing, state)
	require.NoError(t, s.get(t, `{}`))

	previous, err := f.SetLogLevel(ada, id, slog.LevelDebug)
	require.NoError(t, err)
	assert.Equal(t, slog.LevelInfo, previous)
	assert.Equal(t, slog.LevelDebug, level.Level())

	plugin, err := f.ReloadPlugin(ada, id, "prices")
	require.NoError(t, err)
	assert.Equal(t, "2", plugin.Version)
	assert.Empty(t, plugin.Error, "texts of errors are told only with WithErrorTexts")
	_, err = f.ReloadPlugin(ada, id, "other")
	requireCode(t, errors.NotFound, err)
	assert.Equal(t, []Verb{VerbDrain, VerbDrain, VerbResume, VerbSetLogLevel, VerbReloadPlugin, VerbReloadPlugin}, verbs)

	_, err = f.Drain(t.Context(), id)
	requireCode(t, errors.PermissionDenied, err)
	assert.False(t, s.server.Drained())
	_, err = f.Drain(ada, "SRV_other")
	require.Error(t, err)
}

// WithAdmin and WithTap must require WithAuthorize, so that a program decides who may change or
// watch a server.
func TestServe_WithAdminAndWithTapNeedWithAuthorize(t *testing.T) {
	t.Parallel()
	for name, opt := range map[string]ServeOption{"WithAdmin": WithAdmin(), "WithTap": WithTap()} {
		_, err := Serve(dynamic.NewServer(nil), opt)
		requireCode(t, errors.InvalidArgument, err)
		assert.Contains(t, err.Error(), name)
		assert.Contains(t, err.Error(), "WithAuthorize")
	}
}

// Clients cannot change a server without WithAdmin.
func TestAdmin_OnlyIfPermitted(t *testing.T) {
	t.Parallel()
	permit := WithAuthorize(func(context.Context, Verb) error { return nil })
	for name, tt := range map[string]struct {
		opts []ServeOption
		code errors.ErrorCode
	}{
		"no admin":       {[]ServeOption{permit}, errors.Unavailable},
		"nothing but it": {[]ServeOption{permit, WithAdmin()}, errors.Unimplemented},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServed(t, tt.opts...)
			f, err := New(s.conn)
			require.NoError(t, err)
			_, err = f.SetLogLevel(t.Context(), s.server.ID(), slog.LevelDebug)
			requireCode(t, tt.code, err)
			_, err = f.ReloadPlugin(t.Context(), s.server.ID(), "prices")
			requireCode(t, tt.code, err)
		})
	}
}
