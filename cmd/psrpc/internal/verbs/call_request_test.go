package verbs_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/bus"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/clitest"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// echoEnv returns an environment with one server, which handles the method Best. The server passes
// each request to seen, and returns the name in the request as the text of the response.
func echoEnv(t *testing.T, seen func(metadata map[string]string, request *dynamicpb.Message)) clitest.Env {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(otherGreeter, "testdata/greeter_more.proto"))
	service, err := reg.FindService("greeting.Greeter")
	require.NoError(t, err)
	b := bus.NewLocal()
	server := dynamic.NewServer(b)
	t.Cleanup(func() { server.Kill(); assert.NoError(t, b.Close()) })
	_, err = server.Register(service, dynamic.Handlers{"Best": dynamic.Unary(
		func(ctx context.Context, request *dynamicpb.Message) (*dynamicpb.Message, error) {
			info, _ := dynamic.RequestInfoFromContext(ctx)
			seen(info.Metadata, request)
			response := dynamicpb.NewMessage(service.Methods()[0].Output())
			response.Set(response.Descriptor().Fields().ByName("text"), request.Get(request.Descriptor().Fields().ByName("name")))
			return response, nil
		},
	)})
	require.NoError(t, err)
	return clitest.Env{Bus: b}
}

func TestCall_SendsMetadata(t *testing.T) {
	t.Parallel()
	var got map[string]string
	env := echoEnv(t, func(metadata map[string]string, _ *dynamicpb.Message) { got = metadata })
	dir := t.TempDir()
	token, headers := filepath.Join(dir, "token"), filepath.Join(dir, "headers")
	require.NoError(t, os.WriteFile(token, []byte("secret\n"), 0o600))
	require.NoError(t, os.WriteFile(headers, []byte("# a comment\n\nregion: eu\nuser: ${NAME}\n"), 0o600))
	env.Vars = map[string]string{"NAME": "Ada"}
	result := clitest.Run(t, env, "", "call", "Best", "-p", "testdata/greeter_more.proto",
		"-H", "authorization:@"+token, "-H", "@"+headers, "-H", "trace: a:b", "name=x")
	assert.Equal(t, 0, result.Exit, result.Stderr)
	assert.Equal(t, map[string]string{"authorization": "secret", "region": "eu", "user": "Ada", "trace": "a:b"}, got)

	result = clitest.Run(t, env, "", "call", "Best", "-p", "testdata/greeter_more.proto", "-H", "user:${MISSING}")
	clitest.Golden(t, "call_header_missing_variable", result)
}

func TestCall_Raw(t *testing.T) {
	t.Parallel()
	env := echoEnv(t, func(map[string]string, *dynamicpb.Message) {})
	result := clitest.Run(t, env, "", "call", "Best", "-p", "testdata/greeter_more.proto", "--raw", "name=Ada")
	assert.Equal(t, "\n\x03Ada", result.Stdout)
}

// Each way to write the argument DATA must make the same request.
func TestCall_Data(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "request.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"name": "Ada"}`), 0o600))
	var requests []proto.Message
	env := echoEnv(t, func(_ map[string]string, request *dynamicpb.Message) { requests = append(requests, request) })
	for _, data := range [][]string{{"name=Ada"}, {`{"name":"Ada"}`}, {"@" + file}, {"@-"}} {
		args := append([]string{"call", "Best", "-p", "testdata/greeter_more.proto"}, data...)
		result := clitest.Run(t, env, `{"name":"Ada"}`, args...)
		assert.JSONEq(t, `{"text":"Ada"}`, result.Stdout, "%v: %s", data, result.Stderr)
	}
	assert.Len(t, requests, 4)
	for _, request := range requests {
		assert.True(t, proto.Equal(requests[0], request))
	}
}
