package verbs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/clitest"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/recording"
	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// recordShop writes a recording of calls of shop.Orders and returns its path. Each call consists of
// a request and a response or an error.
func recordShop(t *testing.T, calls ...[2]string) string {
	t.Helper()
	reg := registry.New()
	require.NoError(t, reg.ParseProto(os.DirFS("testdata"), "shop.proto"))
	service, _ := reg.Service("shop.Orders")
	encode := func(name, json string) []byte {
		messageType, err := service.FindMessageByName(protoreflect.FullName(name))
		require.NoError(t, err)
		message := messageType.New().Interface()
		require.NoError(t, protojson.Unmarshal([]byte(json), message))
		encoded, err := proto.Marshal(message)
		require.NoError(t, err)
		return encoded
	}
	path := filepath.Join(t.TempDir(), "traffic.psrpc")
	file, err := os.Create(path)
	require.NoError(t, err)
	w, err := recording.NewWriter(file, recording.Header{Begun: atNoon(), Bus: "local", Redacted: []string{recording.DebugRedact}})
	require.NoError(t, err)
	source := service.Descriptor().ParentFile()
	files := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
		protodesc.ToFileDescriptorProto(source.Imports().Get(0).FileDescriptor), protodesc.ToFileDescriptorProto(source),
	}}
	require.NoError(t, w.AddService(recording.Service{Name: "shop.Orders", WireName: "Orders", Digest: fleet.Digest{1}, Files: files}))
	for i, call := range calls {
		event := recording.Event{
			At: atNoon().Add(time.Duration(i) * time.Millisecond), Kind: fleet.TapRequested, Method: "shop.Orders/Get",
			ServerID: "shop-1", ClientID: "client", RequestID: fmt.Sprintf("request-%d", i+1), Payload: encode("shop.GetRequest", call[0]),
		}
		require.NoError(t, w.Add(&event))
		code, isError := strings.CutPrefix(call[1], "error ")
		event.Kind, event.Code, event.Payload = fleet.TapError, errors.ErrorCode(code), nil
		if !isError {
			event.Kind, event.Code, event.Payload = fleet.TapResponse, errors.OK, encode("shop.Order", call[1])
		}
		require.NoError(t, w.Add(&event))
	}
	require.NoError(t, w.Close())
	require.NoError(t, file.Close())
	return path
}

func TestReplay_Golden(t *testing.T) {
	env := shopEnv(t)
	same := recordShop(t, [2]string{`{"id": 1}`, `{"id": 1, "state": "paid"}`}, [2]string{`{"id": 400}`, "error not_found"})
	different := recordShop(t, [2]string{`{"id": 1}`, `{"id": 2, "state": "paid"}`}, [2]string{`{"id": 400}`, `{"id": 400}`})
	for name, args := range map[string]string{
		"replay":             same + " --speed max -c 1",
		"replay_same":        same + " --compare -c 1",
		"replay_different":   different + " --compare -c 1",
		"replay_ignored":     different + " --compare -c 1 --ignore id --ignore error",
		"replay_json":        different + " --compare --speed 2 -c 1 -o json",
		"replay_failed":      recordShop(t, [2]string{`{"id": 400}`, `{}`}),
		"replay_only":        same + " --only Other/*",
		"replay_bad_pattern": same + " --only [",
		"replay_bad_speed":   same + " --speed fast",
		"replay_no_file":     "missing.psrpc",
		"replay_no_file_arg": "",
		"replay_not_one":     shopProto,
		"replay_no_context":  same + " --to nowhere",
	} {
		t.Run(name, func(t *testing.T) {
			result := clitest.Run(t, env, "", append([]string{"replay"}, strings.Fields(args)...)...)
			clitest.Golden(t, name, result, clitest.Replace(`"took_ns":\d+`, `"took_ns":N`))
		})
	}
}

func TestServe_AnswersFromARecording(t *testing.T) {
	env := localEnv(t)
	stop, _ := startVerb(t, env, "1 server", "serve", "--every", "0", "--from",
		recordShop(t, [2]string{`{"id": 1}`, `{"id": 1, "state": "recorded"}`}, [2]string{`{"id": 2}`, "error not_found"}))
	result := clitest.Run(t, env, "", "call", "-p", shopProto, "Orders/Get", "id=1")
	assert.JSONEq(t, `{"id":"1","state":"recorded"}`, result.Stdout)
	result = clitest.Run(t, env, "", "call", "-p", shopProto, "Orders/Get", "id=2")
	assert.Equal(t, 69, result.Exit)
	stop()
}
