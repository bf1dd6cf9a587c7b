package childproto

import (
	"bytes"
	"encoding/json"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Version is that of what is agreed upon.
const Version = 1

// The environment of the process.
const (
	EnvBus     = "DYNPSRPC_BUS"     // the URL of the bus
	EnvABI     = "DYNPSRPC_ABI"     // Version, in decimal
	EnvPlugin  = "DYNPSRPC_PLUGIN"  // the plugin's name
	EnvVersion = "DYNPSRPC_VERSION" // the plugin's version
	EnvFolder  = "DYNPSRPC_FOLDER"  // the path of the plugin's folder
)

// Ready is what the process says when it serves.
type Ready struct {
	Version  int       `json:"dynpsrpc_ready"`
	Services []Service `json:"services"`
}

// Service is a service that the process serves.
type Service struct {
	Name     string   `json:"name"`      // the full name
	WireName string   `json:"wire_name"` // on the bus; may be missing
	Methods  []string `json:"methods"`
}

// Line returns the line, with its end.
func (r Ready) Line() []byte {
	line, _ := json.Marshal(r) //nolint:errchkjson // numbers and strings
	return append(line, '\n')
}

// ParseReady reports whether a line is meant to be the one of a process that is ready. If so, it reads it.
func ParseReady(line []byte) (ready Ready, isReady bool, err error) {
	if !bytes.HasPrefix(line, []byte("{")) || !bytes.Contains(line, []byte(`"dynpsrpc_ready"`)) {
		return Ready{}, false, nil
	}
	if err := json.Unmarshal(line, &ready); err != nil {
		return Ready{}, true, errors.NewErrorf(errors.InvalidArgument, "its ready line cannot be read: %w", err)
	}
	if ready.Version != Version {
		return Ready{}, true, errors.NewErrorf(errors.FailedPrecondition,
			"it speaks version %d with its host, which speaks version %d: build it anew", ready.Version, Version)
	}
	return ready, true, nil
}
