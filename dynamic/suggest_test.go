package dynamic_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// TestSuggest_UnknownMethod checks that the error for an unknown method suggests the method with
// the most similar name.
func TestSuggest_UnknownMethod(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for given, meant := range map[string]string{
		"test.Echoes/Repaet":  repeat,
		"test.Echoes/repeat":  repeat,
		"TEST.ECHOES/REPEAT":  repeat,
		"test.Echoes/Repeats": repeat,
		"test.Echoe/Repeat":   repeat,
		"Echoes/Repeat":       repeat,
		"Repeat":              repeat,
		"test.Echoes/echo":    echo,
		"test.Echoes/Ecko":    echo,
		"test.Kinds/Fed":      "test.Kinds/Feed",
		"test.Echoes/Nothing": "",
		"test.Echoes/Ehco":    echo,
		"test.Echoes/Zaza":    "",
		"test.Nothing/Repeat": "",
		"other.pkg/Service":   "",
		"x":                   "",
		"":                    "",
	} {
		_, err := dynamic.NewClient[text, text](w.conn, given)
		coded := requireCode(t, errors.Unimplemented, err)
		if meant == "" {
			assert.NotContains(t, coded.Error(), "did you mean", given)
		} else {
			assert.Contains(t, coded.Error(), "did you mean "+meant+"?", given)
		}
	}
}

func TestSuggest_Handlers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.server.Register(descriptor(t, w.registry, "test.Echoes"), dynamic.Handlers{"Ehco": identity[text]()},
		dynamic.AllowMissing())
	requireCode(t, errors.InvalidArgument, err)
	require.ErrorContains(t, err, "method Ehco: there is a handler, but no such method; did you mean Echo?")

	registration := w.serve(t, nil)
	for what, err := range map[string]error{
		"update": registration.Publish(t.Context(), "Repaet", say("hi")),
		"topic":  registration.RegisterTopic("Repaet", "eu"),
	} {
		requireCode(t, errors.InvalidArgument, err)
		require.ErrorContains(t, err, "; did you mean Repeat?", what)
	}
}
