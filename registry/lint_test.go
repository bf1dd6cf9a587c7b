package registry

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const lintSource = `
syntax = "proto3"; package lint; import "options.proto";
message M {}
service Good {
  rpc Queue(M) returns (M);
  rpc Best(M) returns (M) { option (psrpc.options).type = AFFINITY; }
  rpc Both(M) returns (M) { option (psrpc.options) = { multi: true type: MULTI }; }
  rpc Old(M) returns (M) { option (psrpc.options).affinity_func = true; }
  rpc Direct(M) returns (M) { option (psrpc.options).topic_params.single_server = true; }
  rpc There(M) returns (M) { option (psrpc.options) = { topics: true topic_params: { group: "g" names: ["a", "b"] single_server: true } }; }
  rpc News(M) returns (M) { option (psrpc.options) = { subscription: true type: MULTI }; }
}
service Bad {
  rpc Feed(M) returns (M) { option (psrpc.options) = { subscription: true type: AFFINITY topic_params: { single_server: true } }; }
  rpc Best(M) returns (M) { option (psrpc.options) = { type: AFFINITY topic_params: { single_server: true } }; }
  rpc All(M) returns (M) { option (psrpc.options) = { type: MULTI topic_params: { single_server: true } }; }
  rpc There(M) returns (M) { option (psrpc.options) = { topic_params: { names: ["a"] } }; }
  rpc Group(M) returns (M) { option (psrpc.options) = { topic_params: { group: "g" } }; }
  rpc Other(M) returns (M) { option (psrpc.options) = { multi: true type: AFFINITY }; }
  rpc Off(M) returns (M) { option (psrpc.options) = { multi: false }; }
}
service Empty {}
`

// Lint must report each option that makes no sense, and nothing else. A registry must log the
// problems, or refuse the services with WithLint.
func TestLint(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{"lint.proto": {Data: []byte(lintSource)}}
	var log bytes.Buffer
	r := New(WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	require.NoError(t, r.ParseProto(files, "lint.proto"))

	service := func(name string) *Service {
		s, err := r.FindService("lint." + name)
		require.NoError(t, err)
		return s
	}
	require.NoError(t, Lint(service("Good")))
	problems := Lint(service("Bad").Descriptor())
	for _, want := range []string{
		"lint.proto:14:3: lint.Bad/Feed: AFFINITY routing has no effect on a subscription",
		"lint.Bad/Feed: single_server has no effect on a subscription",
		"lint.Bad/Best: AFFINITY routing has no effect with single_server",
		"lint.Bad/All: single_server has no effect with MULTI routing",
		"lint.Bad/There: topic_params has no effect without topics",
		"lint.Bad/Group: topic_params has no effect without topics",
		"lint.Bad/Other: multi contradicts type",
		"lint.Bad/Off: multi has the value false, but takes effect",
	} {
		require.ErrorContains(t, problems, want)
	}
	assert.Equal(t, 8, strings.Count(problems.Error(), "lint.Bad/"))
	_, ok := errors.AsType[*SchemaError](problems)
	assert.True(t, ok)
	require.ErrorContains(t, Lint(service("Empty")), "declares no methods")
	var noService *Service
	for _, service := range []any{noService, nil, "x"} {
		require.ErrorIs(t, Lint(service), ErrNoService)
	}

	assert.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
	assert.Contains(t, log.String(), "service lint.Bad has options that contradict each other or have no effect")
	strict := New(WithLint())
	err := strict.ParseProto(files, "lint.proto")
	require.ErrorContains(t, err, "lint.Bad/Off")
	require.ErrorContains(t, err, "lint.Empty: the service declares no methods")
	assert.Empty(t, strict.Services())
	_, err = strict.Register(service("Bad").Descriptor())
	require.ErrorContains(t, err, "lint.Bad/Off")
	_, err = strict.Register(service("Good").Descriptor())
	require.NoError(t, err)
}
