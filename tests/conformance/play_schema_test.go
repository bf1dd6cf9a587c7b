package conformance_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing/fstest"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// parse returns a registry that contains the recorded method in a service with the name used by
// this test.
func (p *play) parse() *registry.Registry {
	m := p.scenario.Method
	options := []string{"type: " + m.Type}
	if len(m.Topics) > 0 {
		names := make([]string, len(m.Topics))
		for i := range names {
			names[i] = fmt.Sprintf(`"part%d"`, i)
		}
		options = append(options, "topics: true",
			fmt.Sprintf("topic_params: { names: [%s] single_server: %v }", strings.Join(names, ","), m.SingleServer))
	}
	options = append(options, fmt.Sprintf("stream: %v", m.Stream), fmt.Sprintf("subscription: %v", m.Subscription))
	sent := "google.protobuf." + map[bool]string{true: "BytesValue", false: "StringValue"}[p.sendsMalformed()]
	const other = "google.protobuf.StringValue"
	input, output := other, other
	if p.ours == client {
		input = sent
	} else {
		output = sent
	}
	source := fmt.Sprintf(`syntax = "proto3"; package scenario;
		import "google/protobuf/wrappers.proto"; import "options.proto";
		service Recorded {
			rpc %s(%s) returns (%s) { option (psrpc.options) = { %s }; }
			rpc ProcessRegionUpdate%s(%s) returns (%s) {
				option (psrpc.options) = { subscription: true topics: true topic_params: { names: "region" } };
			}
		}`, m.Name, input, output, strings.Join(options, " "),
		map[bool]string{true: "2"}[m.Name == "ProcessRegionUpdate"], input, output)
	service, err := recordedService(source)
	require.NoError(p, err)
	named := registry.New()
	_, err = named.Register(service.Descriptor(), registry.WithWireName(p.service))
	require.NoError(p, err)
	return named
}

// recordedServices contains the results of recordedService, keyed by their source. Many scenarios
// have the same source.
var recordedServices sync.Map

// recordedService parses the source of the service Recorded.
func recordedService(source string) (*registry.Service, error) {
	if service, known := recordedServices.Load(source); known {
		return service.(*registry.Service), nil
	}
	parsed := registry.New()
	if err := parsed.ParseProto(fstest.MapFS{"recorded.proto": {Data: []byte(source)}}, "recorded.proto"); err != nil {
		return nil, err
	}
	service, ok := parsed.Service("scenario.Recorded")
	if !ok {
		return nil, fmt.Errorf("the source has no service scenario.Recorded")
	}
	recordedServices.Store(source, service)
	return service, nil
}

// sendsMalformed reports whether dynpsrpc must send a text that is not valid UTF-8, because the
// recorded peer did. dynpsrpc then uses BytesValue messages. They have the same encoding as
// StringValue messages, but may contain any bytes.
func (p *play) sendsMalformed() bool {
	return slices.ContainsFunc(p.scenario.Frames, func(r recorded) bool {
		return p.isOurs(r) && !utf8.Valid(text(textOf(body(r.frame(p)))))
	})
}

// body returns the user's message in a frame.
func body(f frame) []byte {
	switch f.typeName() {
	case typeRequest:
		return f.inner.bytes(requestRaw)
	case typeResponse:
		return f.inner.bytes(responseRaw)
	case typeStream:
		return f.inner.sub(streamMessage).bytes(messageRaw)
	default:
		return f.inner.encode()
	}
}

// newBody returns a message with the same content as the user's message in a frame.
func (p *play) newBody(f frame) proto.Message {
	value := textOf(body(f))
	if p.sendsMalformed() {
		return wrapperspb.Bytes([]byte(value))
	}
	return wrapperspb.String(value)
}

func bodyText(m proto.Message) string {
	if m == nil {
		return ""
	}
	encoded, _ := proto.Marshal(m)
	return textOf(encoded)
}
