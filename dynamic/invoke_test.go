package dynamic_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

func TestInvoke_RequestsOfAllForms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{"Repeat": dynamic.Unary(repeatHandler), "Echo": identity[text]()})
	m, _ := w.registry.Method(repeat)
	message := dynamicpb.NewMessage(m.Input())
	require.NoError(t, protojson.Unmarshal([]byte(`{"name": "ho", "times": 2}`), message))
	for _, tt := range []struct {
		name, method string
		request      any
		want         string
	}{
		{"message", repeat, message, `{"lines": ["ho", "ho"]}`},
		{"JSON", repeat, json.RawMessage(`{"name": "ho", "times": 2}`), `{"lines": ["ho", "ho"]}`},
		{"map", repeat, map[string]any{"name": "ho", "times": 2}, `{"lines": ["ho", "ho"]}`},
		{"map with a number as text", repeat, map[string]any{"name": "ho", "times": "2"}, `{"lines": ["ho", "ho"]}`},
		{"empty JSON", repeat, json.RawMessage(`{}`), `{}`},
		{"empty map", repeat, map[string]any{}, `{}`},
		{"nil", repeat, nil, `{}`},
		{"linked message", echo, wrapperspb.String("hi"), `"hi"`},
		{"nil linked message", echo, text(nil), `""`},
		{"JSON of a linked message", echo, json.RawMessage(`"hi"`), `"hi"`},
		{"nil for a linked message", echo, nil, `""`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, name := range []string{tt.method, "/" + tt.method} {
				response, err := dynamic.Invoke(t.Context(), w.conn, name, tt.request)
				require.NoError(t, err)
				assert.JSONEq(t, tt.want, protojson.Format(response))
			}
		})
	}
}

func repeatHandler(_ context.Context, request *dynamicpb.Message) (*dynamicpb.Message, error) {
	return repeated(request), nil
}

func TestInvoke_RequestsThatDoNotFit(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newWorldOn(t, b)
	w.serve(t, dynamic.Handlers{"Repeat": dynamic.Unary(repeatHandler)})
	otherMethod, _ := w.registry.Method(echo)
	for _, tt := range []struct {
		name    string
		request any
		want    string
	}{
		{"JSON with an unknown field", json.RawMessage(`{"nickname": "ho"}`), "nickname"},
		{"map with an unknown field", map[string]any{"nickname": "ho"}, "nickname"},
		{"JSON of another type", json.RawMessage(`{"times": "many"}`), "test.Request"},
		{"no JSON", json.RawMessage(`{`), "test.Request"},
		{"JSON with more behind it", json.RawMessage(`{} {}`), "test.Request"},
		{"JSON that is not UTF-8", json.RawMessage("{\"name\": \"\xff\"}"), "test.Request"},
		{"a number that is too large", map[string]any{"times": 1 << 40}, "test.Request"},
		{"map that is no JSON", map[string]any{"name": make(chan int)}, "chan int"},
		{"linked message of another type", wrapperspb.String("hi"), "wanted message test.Request, given google.protobuf.StringValue"},
		{
			"dynamic message of another type", dynamicpb.NewMessage(otherMethod.Input()),
			"wanted message test.Request, given google.protobuf.StringValue",
		},
		{"nil dynamic message", (*dynamicpb.Message)(nil), "the message is nil"},
		{"dynamic message without a type", &dynamicpb.Message{}, "without a type"},
		{"JSON without content", json.RawMessage{}, "the json.RawMessage is empty: nil or {} stands for an empty message"},
		{"text", `{"name": "ho"}`, "a string is no proto.Message, json.RawMessage or map[string]any: convert JSON with json.RawMessage(text)"},
		{"bytes", []byte(`{}`), "a []uint8 is no proto.Message"},
		{"another map", map[string]string{"name": "ho"}, "a map[string]string is no proto.Message"},
	} {
		_, err := dynamic.Invoke(t.Context(), w.conn, repeat, tt.request)
		coded := requireCode(t, errors.InvalidArgument, err)
		assert.Contains(t, coded.Error(), "request of test.Echoes/Repeat: ", tt.name)
		assert.Contains(t, coded.Error(), tt.want, tt.name)
	}
	assert.Empty(t, b.sent(), "nothing of that is sent")
}

// TestInvoke_AnyOfUnlinkedType checks that an Any message can contain a type that only the
// registry knows.
func TestInvoke_AnyOfUnlinkedType(t *testing.T) {
	t.Parallel()
	const inside = `{"@type": "type.googleapis.com/test.Request", "name": "ho", "times": 2}`
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{"Box": identity[*anypb.Any]()})
	var asMap map[string]any
	require.NoError(t, json.Unmarshal([]byte(inside), &asMap))
	for _, request := range []any{json.RawMessage(inside), asMap} {
		response, err := dynamic.Invoke(t.Context(), w.conn, box, request)
		require.NoError(t, err)
		encoded, err := protojson.MarshalOptions{Resolver: w.registry}.Marshal(response)
		require.NoError(t, err)
		assert.JSONEq(t, inside, string(encoded))
	}
	_, err := dynamic.Invoke(t.Context(), w.conn, box, json.RawMessage(`{"@type": "type.googleapis.com/no.Such"}`))
	assert.Contains(t, requireCode(t, errors.InvalidArgument, err).Error(), "no.Such")
}

func TestInvoke_ResultType(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(t, dynamic.Handlers{"Repeat": dynamic.Unary(repeatHandler), "Echo": identity[text]()})
	response, err := dynamic.Invoke(t.Context(), w.conn, echo, nil)
	require.NoError(t, err)
	assert.IsType(t, wrapperspb.String(""), response)
	response, err = dynamic.Invoke(t.Context(), w.conn, repeat, nil)
	require.NoError(t, err)
	assert.IsType(t, &dynamicpb.Message{}, response)
}

// unusable contains the method names that Invoke rejects. Each name is mapped to the code and to a
// part of the text of the error.
var unusable = map[string]struct {
	code errors.ErrorCode
	want string
}{
	"":                     {errors.Unimplemented, "names look like my.pkg.MyService/MyMethod"},
	"Echo":                 {errors.Unimplemented, "method Echo is not in the conn's registry"},
	"test.Echoes/echo":     {errors.Unimplemented, "method test.Echoes/echo is not in the conn's registry"},
	"Echoes/Echo":          {errors.Unimplemented, "method Echoes/Echo is not in the conn's registry"},
	"test.Kinds/All":       {errors.InvalidArgument, "method test.Kinds/All is a multi"},
	"test.Kinds/Flow":      {errors.InvalidArgument, "method test.Kinds/Flow is a stream"},
	"test.Kinds/Feed":      {errors.InvalidArgument, "method test.Kinds/Feed is a subscription"},
	"test.Updates/Changed": {errors.InvalidArgument, "method test.Updates/Changed is a subscription"},
}

func TestInvoke_UnusableMethods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, want := range unusable {
		_, err := dynamic.Invoke(t.Context(), w.conn, name, nil)
		assert.Contains(t, requireCode(t, want.code, err).Error(), want.want, name)
	}
}

func TestCall_UnusableMethods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, want := range unusable {
		client, err := dynamic.NewClient[proto.Message, proto.Message](w.conn, name)
		if err == nil {
			_, err = client.Call(t.Context(), nil)
		}
		assert.Contains(t, requireCode(t, want.code, err).Error(), want.want, name)
	}
}

func TestNewClient_TypesThatDoNotFit(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newWorldOn(t, b)
	_, err := dynamic.NewClient[number, text](w.conn, echo)
	assert.Equal(t, "client of test.Echoes/Echo: request type: wanted message google.protobuf.StringValue, "+
		"given *wrapperspb.Int64Value, which is message google.protobuf.Int64Value", requireCode(t, errors.InvalidArgument, err).Error())
	_, err = dynamic.NewClient[text, number](w.conn, echo)
	assert.Contains(t, requireCode(t, errors.InvalidArgument, err).Error(), "client of test.Echoes/Echo: response type: ")
	_, err = dynamic.NewClient[wider, dyn](w.conn, repeat)
	assert.Contains(t, requireCode(t, errors.InvalidArgument, err).Error(), "is no dynamic_test.wider")
	assert.Empty(t, b.open(), "it does not listen")
}

func TestCall_RequestsThatDoNotFit(t *testing.T) {
	t.Parallel()
	b := newFakeBus()
	w := newWorldOn(t, b)
	w.serve(t, nil)
	m, _ := w.registry.Method(repeat)
	messages, err := dynamic.NewClient[proto.Message, proto.Message](w.conn, echo)
	require.NoError(t, err)
	dynamics, err := dynamic.NewClient[dyn, dyn](w.conn, echo)
	require.NoError(t, err)
	for name, call := range map[string]func() error{
		"nil interface": func() error { _, err := messages.Call(t.Context(), nil); return err },
		"nil dynamic":   func() error { _, err := dynamics.Call(t.Context(), nil); return err },
		"other message": func() error { _, err := messages.Call(t.Context(), wrapperspb.Int64(1)); return err },
		"other dynamic": func() error { _, err := dynamics.Call(t.Context(), dynamicpb.NewMessage(m.Input())); return err },
	} {
		assert.Contains(t, requireCode(t, errors.InvalidArgument, call()).Error(), "request of test.Echoes/Echo: ", name)
	}
	_, err = w.call(t, echo, "not UTF-8: \xff")
	assert.Contains(t, requireCode(t, errors.MalformedRequest, err).Error(), echo)
	assert.Empty(t, b.sent(), "nothing of that is sent")
}

// TestInvoke_RegistryChanges checks that Invoke follows the registry when a service is added to it
// or removed from it.
func TestInvoke_RegistryChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const name = "solo.Solo/Nobody"
	_, err := dynamic.Invoke(t.Context(), w.conn, name, nil)
	requireCode(t, errors.Unimplemented, err)

	add := func(source string) {
		require.NoError(t, w.registry.ParseProto(fstest.MapFS{"solo.proto": {Data: []byte(source)}}, "solo.proto"))
		registration, err := w.server.Register(descriptor(t, w.registry, "solo.Solo"),
			dynamic.Handlers{"Nobody": dynamic.Raw(rawIdentity)})
		require.NoError(t, err)
		t.Cleanup(func() { registration.Kill() })
	}
	add(soloSource)
	response, err := dynamic.Invoke(t.Context(), w.conn, name, json.RawMessage(`"hi"`))
	require.NoError(t, err)
	assert.Equal(t, `"hi"`, protojson.Format(response))

	require.True(t, w.registry.Remove("solo.Solo"))
	_, err = dynamic.Invoke(t.Context(), w.conn, name, nil)
	requireCode(t, errors.Unimplemented, err)
}
