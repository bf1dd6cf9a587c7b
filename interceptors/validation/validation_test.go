package validation_test

import (
	"context"
	"testing"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/interceptors/validation"
	"github.com/dynpsrpc/dynpsrpc/tests/testkit/kinds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tooLong = "one two three four five six"

var (
	nothing   = dynamic.ServiceOptions()
	nothingOf = dynamic.ConnOptions()
)

// requireInvalid requires the error for a message whose value is too long and whose count is
// negative.
func requireInvalid(t testing.TB, err error, what string) {
	t.Helper()
	coded, ok := errors.AsType[errors.Error](err)
	require.True(t, ok, "%v", err)
	assert.Equal(t, errors.InvalidArgument, coded.Code())
	assert.Equal(t, what+" is not valid: value: must be at most 20 characters; count: must be greater than or equal to 0", coded.Error())
	require.Len(t, coded.Details(), 1)
	violations := coded.Details()[0].(*validate.Violations).GetViolations()
	require.Len(t, violations, 2)
	assert.Equal(t, "string.max_len", violations[0].GetRuleId())
	assert.Equal(t, "value", protovalidate.FieldPathString(violations[0].GetField()))
	assert.Equal(t, "count", protovalidate.FieldPathString(violations[1].GetField()))
}

func invalid() *kinds.Text { return &kinds.Text{Value: tooLong, Count: -1} }

// invalidDynamic returns the same invalid message as a dynamic message, which has another
// descriptor.
func invalidDynamic(t testing.TB, w *kinds.World) proto.Message {
	t.Helper()
	method, ok := w.Registry.Method(kinds.One)
	require.True(t, ok)
	message := dynamicpb.NewMessage(method.Input())
	encoded, err := proto.Marshal(invalid())
	require.NoError(t, err)
	require.NoError(t, proto.Unmarshal(encoded, message))
	return message
}

// onEachSide runs a test twice: once with validation on the server and once with validation on the
// conn.
func onEachSide(t *testing.T, test func(t *testing.T, w *kinds.World)) {
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		test(t, kinds.New(t, validation.New(), nothingOf))
	})
	t.Run("client", func(t *testing.T) {
		t.Parallel()
		test(t, kinds.New(t, nothing, validation.New()))
	})
}

func TestValidation_Call(t *testing.T) {
	t.Parallel()
	onEachSide(t, func(t *testing.T, w *kinds.World) {
		_, err := w.Call(t.Context(), kinds.One, "hi")
		require.NoError(t, err)
		for _, request := range []proto.Message{invalid(), invalidDynamic(t, w)} {
			_, err = dynamic.Invoke(t.Context(), w.Conn, kinds.One, request)
			requireInvalid(t, err, "request of kinds.All/One")
		}
		_, err = dynamic.Invoke(t.Context(), w.Conn, kinds.One, map[string]any{"value": tooLong, "count": -1})
		requireInvalid(t, err, "request of kinds.All/One")
	})
}

func TestValidation_Multi(t *testing.T) {
	t.Parallel()
	onEachSide(t, func(t *testing.T, w *kinds.World) {
		responses, err := w.CallEvery(t.Context(), "hi")
		require.NoError(t, err)
		require.NoError(t, responses[0].Err)
		came, err := dynamic.InvokeMulti(t.Context(), w.Conn, kinds.Every, invalid())
		if err == nil {
			err = kinds.Soon(t, came).Err
		}
		requireInvalid(t, err, "request of kinds.All/Every")
	})
}

// TestNew_ServerDynamic checks that requests are validated even if the handler uses a dynamic type.
func TestNew_ServerDynamic(t *testing.T) {
	t.Parallel()
	w := kinds.New(t, nothing, nothingOf)
	server := dynamic.NewServer(w.Bus, validation.New())
	defer server.Kill()
	require.NoError(t, w.Service.Close(t.Context()))
	echo := func(_ context.Context, request *dynamicpb.Message) (*dynamicpb.Message, error) { return request, nil }
	_, err := server.Register(kinds.Descriptor(t, w.Registry), dynamic.Handlers{"One": dynamic.Unary(echo)}, dynamic.AllowMissing())
	require.NoError(t, err)
	_, err = w.Call(t.Context(), kinds.One, "hi")
	require.NoError(t, err)
	_, err = dynamic.Invoke(t.Context(), w.Conn, kinds.One, invalid())
	requireInvalid(t, err, "request of kinds.All/One")
}

func TestNew_ServerStream(t *testing.T) {
	t.Parallel()
	w := kinds.New(t, validation.New(), nothingOf)
	stream := w.Open(t.Context(), t)
	kinds.Exchange(t, stream, "hi")
	_ = stream.Send(invalid())
	kinds.Soon(t, stream.Context().Done())
	requireInvalid(t, stream.Err(), "message of kinds.All/Flow")
}

func TestNew_ClientStream(t *testing.T) {
	t.Parallel()
	w := kinds.New(t, nothing, validation.New())
	stream := w.Open(t.Context(), t)
	requireInvalid(t, stream.Send(invalid()), "message of kinds.All/Flow")
	kinds.Exchange(t, stream, "hi")
	require.NoError(t, stream.Close(nil))
}

func TestNew_ServerPublish(t *testing.T) {
	t.Parallel()
	w := kinds.New(t, validation.New(), nothingOf)
	subscription := w.Subscribe(t.Context(), t)
	requireInvalid(t, w.Service.Publish(t.Context(), "Feed", invalid()), "update of kinds.All/Feed")
	require.NoError(t, w.Service.Publish(t.Context(), "Feed", &kinds.Text{Value: "hi"}))
	assert.Equal(t, "hi", kinds.Soon(t, subscription.Channel()).GetValue())
}

func TestNew_ClientUpdates(t *testing.T) {
	t.Parallel()
	w := kinds.New(t, nothing, validation.New())
	subscription := w.Subscribe(t.Context(), t)
	requireInvalid(t, dynamic.Publish(t.Context(), w.Conn, kinds.Feed, invalid()), "update of kinds.All/Feed")
	require.NoError(t, w.Service.Publish(t.Context(), "Feed", invalid()))
	require.NoError(t, dynamic.Publish(t.Context(), w.Conn, kinds.Feed, &kinds.Text{Value: "hi"}))
	assert.Equal(t, "hi", kinds.Soon(t, subscription.Channel()).GetValue())
	assert.Equal(t, uint64(1), subscription.Stats().Refused)
}

// broken is a validator that cannot evaluate any rule.
type broken struct{}

func (broken) Validate(proto.Message, ...protovalidate.ValidationOption) error {
	return errors.New("no such rule")
}

func TestWithValidator_Fails(t *testing.T) {
	t.Parallel()
	w := kinds.New(t, validation.New(validation.WithValidator(broken{}), validation.WithValidator(nil)), nothingOf)
	_, err := w.Call(t.Context(), kinds.One, "hi")
	coded, ok := errors.AsType[errors.Error](err)
	require.True(t, ok)
	assert.Equal(t, errors.Internal, coded.Code())
	assert.Equal(t, "request of kinds.All/One cannot be validated: no such rule", coded.Error())
}

// TestNew_ClientErrorAs checks that errors.As finds the error of protovalidate on the side that
// validates.
func TestNew_ClientErrorAs(t *testing.T) {
	t.Parallel()
	w := kinds.New(t, nothing, validation.New())
	_, err := dynamic.Invoke(t.Context(), w.Conn, kinds.One, invalid())
	var violated *protovalidate.ValidationError
	require.ErrorAs(t, err, &violated)
	assert.Len(t, violated.Violations, 2)
}
