package plugin

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/internal/source"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// ManifestName is the file name of the manifest in a plugin's folder.
const ManifestName = "plugin.json"

// Manifest is the content of plugin.json, which describes a plugin. All file names are relative to
// the plugin's folder, use forward slashes, and must not refer to files outside the folder.
type Manifest struct {
	// Name identifies the plugin within its host. If Name is empty, the name of the folder is used.
	Name string `json:"name"`
	// Version is the plugin's version. It is only for display: the host does not compare versions,
	// but loads any content that differs from the content being served.
	Version string `json:"version"`
	// Loader is the name of the [Loader] that runs the code.
	Loader string `json:"loader"`
	// Code is the name of the file that contains the plugin's code.
	Code string `json:"code"`
	// SHA256 is the SHA-256 checksum of the code, in hex. If it is set, code with a different
	// checksum is rejected.
	SHA256 string `json:"sha256,omitempty"`
	// Descriptors is the name of the file that contains the descriptors of the services. The file
	// is either a .proto source or a FileDescriptorSet as written by protoc -o or buf build. A
	// .proto source may import other sources in the folder.
	Descriptors string `json:"descriptors,omitempty"`
	// Services lists the full names of the services that the code serves. If it is empty, the code
	// must serve all services of the descriptors.
	Services []string `json:"services,omitempty"`
	// WireNames maps full service names to names on the bus. A service needs an entry only if its
	// name on the bus differs from psrpc's default.
	WireNames map[string]string `json:"wire_names,omitempty"`
	// Limits restricts the resources that the code may use.
	Limits Limits `json:"limits"`
	// Args contains command-line arguments. They are used only if the code is run as a process.
	Args []string `json:"args,omitempty"`
	// Env contains additional environment variables in the form name=value. They are used only if
	// the code is run as a process.
	Env []string `json:"env,omitempty"`
}

// Limits restricts the resources that a plugin's code may use. If a field is zero, the loader's
// default applies. A loader that cannot enforce limits returns an error if any limit is set; see
// the documentation of each loader.
type Limits struct {
	// Timeout is the maximum duration of one request.
	Timeout Duration `json:"timeout,omitzero"`
	// Memory is the maximum memory of an instance, in bytes.
	Memory int64 `json:"memory,omitempty"`
	// Instances is the maximum number of requests that are handled concurrently.
	Instances int `json:"instances,omitempty"`
}

// Duration is a time.Duration that is encoded in JSON as a string such as "1.5s".
type Duration time.Duration

// String formats d like [time.Duration.String].
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements [encoding.TextMarshaler].
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It accepts the format of
// [time.ParseDuration].
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return invalid("%q is not a duration such as 1.5s", text)
	}
	*d = Duration(parsed)
	return nil
}

// namePattern matches valid plugin names.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// reservedEnvPrefix is the prefix of environment variables that only loaders may set.
const reservedEnvPrefix = "DYNPSRPC_"

// ParseManifest parses a manifest and checks everything that can be checked without access to the
// plugin's folder. It returns an error if the manifest has unknown fields or is followed by other
// data. If several fields have invalid values, the error reports all of them.
func ParseManifest(data []byte) (Manifest, error) {
	var m Manifest
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil {
		return Manifest{}, explainJSONError(data, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Manifest{}, invalid("line %d: data after the manifest: remove it",
			lineAt(data, decoder.InputOffset()))
	}
	if err := m.check(); err != nil {
		return Manifest{}, err
	}
	return m, nil
}

// parse parses a manifest into s.Manifest and returns the files and services that it selects. If
// the manifest does not name the plugin, the name of the folder is used.
func (s *Source) parse(data []byte) (selection source.Selection, err error) {
	if s.Manifest, err = ParseManifest(data); err != nil {
		return selection, err
	}
	if s.Name == "" {
		s.Name = filepath.Base(s.Folder)
		if !namePattern.MatchString(s.Name) {
			return selection, invalid("the name of the folder is not a valid plugin name: set the field name")
		}
	}
	return source.Selection{
		Code: s.Code, SHA256: s.SHA256, Descriptors: s.Descriptors, Services: s.Manifest.Services, WireNames: s.WireNames,
	}, nil
}

// explainJSONError adds the line number, if it is known, to an error returned by encoding/json.
func explainJSONError(data []byte, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return invalid("the JSON is incomplete: %w", io.ErrUnexpectedEOF)
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return invalid("line %d: %w", lineAt(data, syntax.Offset), err)
	}
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return invalid("line %d: field %s cannot be a %s", lineAt(data, mismatch.Offset), mismatch.Field, mismatch.Value)
	}
	text := strings.TrimPrefix(err.Error(), "json: ")
	if strings.HasPrefix(text, "unknown field") {
		return invalid("%s; there are %s", text, strings.Join(fieldNames(reflect.TypeFor[Manifest]()), ", "))
	}
	return invalid("%s", text)
}

// fieldNames returns the JSON names of the fields of a struct. If a field is itself a struct,
// fieldNames returns the names of its fields instead. Each of them is prefixed with the name of the
// outer field and a dot.
func fieldNames(structure reflect.Type) (names []string) {
	for field := range structure.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Type.Kind() != reflect.Struct {
			names = append(names, name)
			continue
		}
		for _, inner := range fieldNames(field.Type) {
			names = append(names, name+"."+inner)
		}
	}
	return names
}

// lineAt returns the line number of a byte offset in data. The first line is line 1.
func lineAt(data []byte, offset int64) int {
	return bytes.Count(data[:min(offset, int64(len(data)))], []byte("\n")) + 1
}

// check validates the values of all fields. The returned error reports all invalid values.
func (m *Manifest) check() error {
	var problems []error
	problem := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, invalid(format, args...))
		}
	}
	problem(m.Name == "" || namePattern.MatchString(m.Name),
		"field name: %q must begin with a letter or digit, and contain letters, digits, dots, dashes and underscores only, "+
			"100 at most", m.Name)
	problem(isText(m.Version), "field version: %q contains control characters or invalid UTF-8", m.Version)
	problem(m.Loader != "", "field loader is missing: set it to the name of the loader that runs the code")
	problem(m.Code != "", "field code is missing: set it to the file with the code")
	checksum, err := hex.DecodeString(m.SHA256)
	problem(m.SHA256 == "" || err == nil && len(checksum) == 32, "field sha256: %q is not 64 hex digits", m.SHA256)
	for _, name := range m.Services {
		problem(protoreflect.FullName(name).IsValid(), "field services: %q is not a full service name", name)
	}
	for _, name := range slices.Sorted(maps.Keys(m.WireNames)) {
		problem(m.Descriptors != "", "field wire_names: %q has no descriptor: set the field descriptors", name)
		problem(len(m.Services) == 0 || slices.Contains(m.Services, name),
			"field wire_names: %q is not listed in the field services", name)
	}
	problem(m.Limits.Timeout >= 0 && m.Limits.Memory >= 0 && m.Limits.Instances >= 0,
		"field limits: limits must not be negative")
	for i, argument := range m.Args {
		problem(!strings.ContainsRune(argument, 0), "field args: entry %d contains a NUL byte", i+1)
	}
	// The errors do not contain the values of environment variables, because these may be secret.
	for i, entry := range m.Env {
		name, _, found := strings.Cut(entry, "=")
		problem(found && name != "" && !strings.ContainsRune(entry, 0),
			"field env: entry %d is not of the form name=value", i+1)
		problem(!found || !strings.HasPrefix(name, reservedEnvPrefix),
			"field env: %q: names with the prefix %s are reserved for the loader", name, reservedEnvPrefix)
	}
	return errors.Join(problems...)
}

// isText reports whether s is valid UTF-8 without control characters.
func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// invalid returns an error with the code InvalidArgument.
func invalid(format string, args ...any) error {
	return errors.NewErrorf(errors.InvalidArgument, format, args...)
}
