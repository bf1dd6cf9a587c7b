package wire_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dynpsrpc/dynpsrpc/internal/wire"
)

// repeated returns an encoded message with one field, count times.
func repeated(number protowire.Number, field []byte, count int) (encoded []byte) {
	for range count {
		encoded = protowire.AppendBytes(protowire.AppendTag(encoded, number, protowire.BytesType), field)
	}
	return encoded
}

// Decoders must accept frames that have up to MaxEntries metadata entries or details, even if keys
// repeat. They must reject frames that have more.
func TestParse_TooManyEntries(t *testing.T) {
	t.Parallel()
	request := func(value []byte) error { _, err := wire.ParseRequest(value); return err }
	response := func(value []byte) error { _, err := wire.ParseResponse(value); return err }
	unawaited := func(value []byte) error { _, err := wire.ParseUnawaitedResponse(value); return err }
	stream := func(value []byte) error { _, err := wire.ParseStream(value); return err }
	envelope := func(value []byte) error { _, err := wire.ParseEnvelope(value); return err }
	const openNumber, closeNumber, metadataNumber, detailsNumber = 6, 9, 7, 1000
	for name, tt := range map[string]struct {
		parse func([]byte) error
		value func(count int) []byte
	}{
		"request metadata":  {request, func(n int) []byte { return repeated(7, nil, n) }},
		"update metadata":   {envelope, func(n int) []byte { return repeated(1001, nil, n) }},
		"response details":  {response, func(n int) []byte { return repeated(8, nil, n) }},
		"unawaited details": {unawaited, func(n int) []byte { return repeated(8, nil, n) }},
		"stream metadata": {stream, func(n int) []byte {
			return repeated(openNumber, repeated(metadataNumber, nil, n), 1)
		}},
		"stream details": {stream, func(n int) []byte {
			return repeated(closeNumber, repeated(detailsNumber, nil, n), 1)
		}},
		"merged and replaced stream messages": {stream, func(n int) (value []byte) {
			for range n {
				value = append(value, repeated(closeNumber, repeated(detailsNumber, nil, 1), 1)...)
				value = append(value, repeated(openNumber, nil, 1)...)
			}
			return value
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, tt.parse(tt.value(wire.MaxEntries)))
			require.ErrorContains(t, tt.parse(tt.value(wire.MaxEntries+1)), "too many")
		})
	}
}

// AppendFrame and AppendMetadata must return an error if a receiver would reject the frame.
func TestAppend_TooManyEntries(t *testing.T) {
	t.Parallel()
	metadata, details := map[string]string{}, []*anypb.Any{}
	for i := range wire.MaxEntries {
		metadata[strconv.Itoa(i)] = ""
		details = append(details, &anypb.Any{})
	}
	frames := func() []error {
		_, request := (&wire.Request{Metadata: metadata}).AppendFrame(nil)
		_, response := (&wire.Response{Error: "x", Details: details}).AppendFrame(nil)
		_, open := (&wire.Stream{Op: wire.StreamOpen, Metadata: metadata}).AppendFrame(nil)
		_, closed := (&wire.Stream{Op: wire.StreamClose, Details: details}).AppendFrame(nil)
		_, update := wire.AppendMetadata(nil, metadata)
		return []error{request, response, open, closed, update}
	}
	for _, err := range frames() {
		require.NoError(t, err)
	}
	metadata["more"], details = "", append(details, &anypb.Any{})
	for _, err := range frames() {
		require.ErrorContains(t, err, "more than 1024")
	}
}

// ParseUnawaitedResponse must not allocate memory for the details of a response. The test counts
// allocations and is therefore not parallel.
func TestParseUnawaitedResponse_Details(t *testing.T) {
	value := repeated(8, repeated(1, []byte("type.googleapis.com/x"), 1), wire.MaxEntries)
	var response wire.Response
	allocations := testing.AllocsPerRun(10, func() {
		var err error
		if response, err = wire.ParseUnawaitedResponse(value); err != nil {
			t.Error(err)
		}
	})
	assert.Zero(t, allocations)
	assert.Empty(t, response.Details)
	for range 2 { // the second call has nothing left to decode
		require.NoError(t, response.DecodeDetails())
		require.Len(t, response.Details, wire.MaxEntries)
	}
	assert.Equal(t, "type.googleapis.com/x", response.Details[0].GetTypeUrl())

	for name, detail := range map[string][]byte{"truncated": {0x0a}, "not UTF-8": repeated(1, []byte{0xff}, 1)} {
		_, err := wire.ParseUnawaitedResponse(repeated(8, detail, 1))
		require.Error(t, err, name)
	}
}
