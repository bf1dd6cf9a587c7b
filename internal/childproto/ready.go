package childproto

import (
	"bytes"
	"encoding/json"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Version is the version of the protocol that this package implements.
const Version = 1

// Names of the environment variables that the host sets for the process.
const (
	// EnvBus contains the URL of the bus.
	EnvBus = "DYNPSRPC_BUS"
	// EnvABI contains the protocol version, [Version], as a decimal number.
	EnvABI = "DYNPSRPC_ABI"
	// EnvPlugin contains the name of the plugin.
	EnvPlugin = "DYNPSRPC_PLUGIN"
	// EnvVersion contains the version of the plugin.
	EnvVersion = "DYNPSRPC_VERSION"
	// EnvFolder contains the path of the plugin's folder.
	EnvFolder = "DYNPSRPC_FOLDER"
	// EnvInstance contains a value that identifies the plugin's process. Child processes inherit
	// the variable. After the plugin's process has ended, the host kills all processes that have
	// inherited it.
	EnvInstance = "DYNPSRPC_INSTANCE"
)

// Ready is the content of the ready line, which a process writes when its services are reachable.
type Ready struct {
	Version  int       `json:"dynpsrpc_ready"`
	Services []Service `json:"services"`
}

// Service describes a service that the process serves.
type Service struct {
	// Name is the full name of the service.
	Name string `json:"name"`
	// WireName is the name of the service on the bus. If it is empty, the host does not check it.
	WireName string   `json:"wire_name"`
	Methods  []string `json:"methods"`
}

// Line returns the ready line, including its newline.
func (r Ready) Line() []byte {
	line, _ := json.Marshal(r) //nolint:errchkjson // numbers and strings can always be encoded
	return append(line, '\n')
}

// ParseReady parses a line of the process's output. isReady reports whether the line is a ready
// line. If the ready line is invalid, isReady is true and err is not nil.
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
