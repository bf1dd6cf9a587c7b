package verbs

import (
	"bytes"
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/contexts"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/recording"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// payloadJSON returns a message as JSON without white space. It returns nil if there is no message
// or if the message cannot be encoded.
func payloadJSON(service *registry.Service, message proto.Message) json.RawMessage {
	if message == nil {
		return nil
	}
	encoded, err := protojson.MarshalOptions{Resolver: service}.Marshal(message)
	if err != nil {
		return nil
	}
	var compact bytes.Buffer
	if json.Compact(&compact, encoded) != nil {
		return nil
	}
	return compact.Bytes()
}

// newRedactor returns a redactor for the fields that have protobuf's option debug_redact or an
// option that the settings name.
func newRedactor(settings *contexts.Context) *recording.Redactor {
	return recording.NewRedactor(append([]string{recording.DebugRedact}, settings.Redact...)...)
}

// codeOf returns the code of an error.
func codeOf(err error) string {
	if coded, ok := errors.AsType[errors.Error](err); ok {
		return string(coded.Code())
	}
	return string(errors.Unknown)
}
