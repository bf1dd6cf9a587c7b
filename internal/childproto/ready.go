package childproto

import (
	"bytes"
	"encoding/json"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Version is the version of the protocol.
const Version = 1

// Names of environment variables of the process.
const (
	// EnvBus is the URL of the bus.
	EnvBus = "DYNPSRPC_BUS"
	// EnvABI is Version, in decimal.
	EnvABI = "DYNPSRPC_ABI"
	// EnvPlugin is the plugin's name.
	EnvPlugin = "DYNPSRPC_PLUGIN"
	// EnvVersion is the plugin's version.
	EnvVersion = "DYNPSRPC_VERSION"
	// EnvFolder is the path of the plugin's folder.
	EnvFolder = "DYNPSRPC_FOLDER"
)

// Ready is the content of the ready line.
type Ready struct {
	Version  int       `json:"dynpsrpc_ready"`
	Services []Service `json:"services"`
}

// Service is a service that the process serves.
type Service struct {
	// Name is the full name.
	Name string `json:"name"`
	// WireName is the name on the bus. It may be empty.
	WireName string   `json:"wire_name"`
	Methods  []string `json:"methods"`
}

// Line returns the ready line, including its newline.
func (r Ready) Line() []byte {
	line, _ := json.Marshal(r) //nolint:errchkjson // numbers and strings
	return append(line, '\n')
}

// ParseReady parses a line of output. isReady is false for lines that are not a ready line. It is
// true for an invalid ready line too; then err is not nil.
func ParseReady(line []byte) (ready Ready, isReady bool, err error) {
	if !bytes.HasPrefix(line, []byte("{")) || !bytes.Contains(line, []byte(`"dynpsrpc_ready"`)) {
		return Ready{}, false, nil
	}
	if err := json.Unmarshal(line, &ready); err != nil {
		return Ready{}, true, errors.NewErrorf(errors.InvalidArgument, "cannot parse the ready line: %w", err)
	}
	if ready.Version != Version {
		return Ready{}, true, errors.NewErrorf(errors.FailedPrecondition,
			"the plugin uses protocol version %d, but the host uses version %d: rebuild the plugin", ready.Version, Version)
	}
	return ready, true, nil
}
