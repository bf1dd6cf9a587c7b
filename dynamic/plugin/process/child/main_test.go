package child

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type register = func(ctx context.Context, server *dynamic.Server) error

func registerGreeter(_ context.Context, server *dynamic.Server) error {
	reg := registry.New()
	source := `syntax = "proto3"; package greeting; message M {} service Greeter { rpc Hello(M) returns (M); }`
	if err := reg.ParseProto(fstest.MapFS{"x.proto": {Data: []byte(source)}}, "x.proto"); err != nil {
		return err
	}
	service, _ := reg.Service("greeting.Greeter")
	_, err := server.Register(service, nil, dynamic.AllowMissing())
	return err
}

// start runs the main function of a plugin. variables sets its environment, in the form
// "NAME=value NAME=value".
func start(ctx context.Context, stdin io.Reader, stdout io.Writer, variables string, register register) error {
	return run(ctx, environment{
		getenv: func(name string) string {
			_, after, _ := strings.Cut(variables, name+"=")
			value, _, _ := strings.Cut(after, " ")
			return value
		},
		stdin: stdin, stdout: stdout,
	}, register)
}

func TestRun_EndsWithItsInput(t *testing.T) {
	t.Parallel()
	input, host := io.Pipe()
	output, program := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- start(context.Background(), input, program, "DYNPSRPC_ABI=1 DYNPSRPC_BUS=local://", registerGreeter)
	}()
	line := make([]byte, 1000)
	n, err := output.Read(line)
	require.NoError(t, err)
	assert.JSONEq(t, `{"dynpsrpc_ready":1,"services":[{"name":"greeting.Greeter","wire_name":"Greeter","methods":["Hello"]}]}`,
		string(line[:n]))
	assert.Empty(t, ended)
	require.NoError(t, host.Close())
	require.NoError(t, <-ended)
}

func TestRun_IgnoresInputWithoutAHost(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	output, program := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- start(ctx, strings.NewReader(""), program, "DYNPSRPC_BUS=local://", registerGreeter) }()
	_, err := output.Read(make([]byte, 1000))
	require.NoError(t, err)
	cancel()
	require.NoError(t, <-ended)
}

func TestRun_ReportsStartErrors(t *testing.T) {
	t.Parallel()
	refuse := func(context.Context, *dynamic.Server) error { return errors.New("no license") }
	for environment, expected := range map[string]string{
		"":                                       "this program is a plugin: start it with a plugin host, or set DYNPSRPC_BUS to the URL of a bus",
		"DYNPSRPC_ABI=2":                         "the host uses protocol version 2, but this program uses version 1: rebuild the program",
		"DYNPSRPC_BUS=magic://x":                 "cannot open the bus: no bus driver",
		"DYNPSRPC_BUS=local://":                  "no license",
		"DYNPSRPC_ABI=1 DYNPSRPC_BUS=local://  ": "no license",
	} {
		var output bytes.Buffer
		input, host := io.Pipe()
		err := start(t.Context(), input, &output, environment, refuse)
		require.ErrorContains(t, err, expected)
		assert.Empty(t, output.String())
		require.NoError(t, host.Close())
	}
}
