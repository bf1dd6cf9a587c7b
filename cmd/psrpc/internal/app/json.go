package app

import (
	"bytes"
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// JSON writes v as one line of JSON. A verb that prints one document calls it once. A verb that
// prints a stream calls it for each element.
func (a *App) JSON(v any) error {
	line, err := marshalLine(v)
	if err != nil {
		return err
	}
	return a.write(string(line))
}

// marshalLine encodes v as JSON, followed by a line break.
func marshalLine(v any) ([]byte, error) {
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return escapeControls(line.Bytes()), err
}

// escapeControls escapes the control characters from 0x7f to 0x9f in JSON. Encoders escape only
// those below 0x20, but some terminals also obey the others. The text may come from a peer.
func escapeControls(encoded []byte) []byte {
	if !bytes.ContainsFunc(encoded, isHighControl) {
		return encoded
	}
	var escaped bytes.Buffer
	for _, r := range string(encoded) {
		if isHighControl(r) {
			fmt.Fprintf(&escaped, `\u%04x`, r)
		} else {
			escaped.WriteRune(r)
		}
	}
	return escaped.Bytes()
}

func isHighControl(r rune) bool { return r >= 0x7f && r <= 0x9f }

// MessageJSON returns a message in the protobuf JSON mapping, without white space. If defaults is
// true, it contains the fields without a value, too.
func (a *App) MessageJSON(message proto.Message, defaults bool) (json.RawMessage, error) {
	encoded, err := protojson.MarshalOptions{Resolver: a.Registry(), EmitUnpopulated: defaults}.Marshal(message)
	if err != nil {
		return nil, err
	}
	return escapeControls(compactJSON(encoded)), nil
}

// compactJSON removes white space. Package protojson adds some at random.
func compactJSON(encoded []byte) json.RawMessage {
	var compact bytes.Buffer
	if json.Compact(&compact, encoded) != nil {
		return encoded
	}
	return compact.Bytes()
}
