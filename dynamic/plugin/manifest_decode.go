package plugin

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// namePattern is what plugins may be called.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// reservedEnvPrefix begins the names of variables that loaders set.
const reservedEnvPrefix = "DYNPSRPC_"

// ParseManifest reads a manifest and checks all that can be checked without the plugin's folder. A field that it does not
// know is an error, and so is anything after the manifest. All problems of the fields are reported together.
func ParseManifest(data []byte) (Manifest, error) {
	var m Manifest
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil {
		return Manifest{}, explainJSONError(data, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Manifest{}, invalid("line %d: there is something after the manifest: remove it",
			lineAt(data, decoder.InputOffset()))
	}
	if err := m.check(); err != nil {
		return Manifest{}, err
	}
	return m, nil
}

// explainJSONError says where the mistake is.
func explainJSONError(data []byte, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return invalid("it is not complete: %w", io.ErrUnexpectedEOF)
	}
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return invalid("line %d: %w", lineAt(data, syntax.Offset), err)
	}
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return invalid("line %d: field %s cannot be a %s", lineAt(data, mismatch.Offset), mismatch.Field, mismatch.Value)
	}
	return invalid("%s", strings.TrimPrefix(err.Error(), "json: "))
}

func lineAt(data []byte, offset int64) int {
	return bytes.Count(data[:min(offset, int64(len(data)))], []byte("\n")) + 1
}

// check reports all problems of the fields together.
func (m *Manifest) check() error {
	var problems []error
	problem := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, invalid(format, args...))
		}
	}
	problem(m.Name == "" || namePattern.MatchString(m.Name),
		"field name: %q is not of letters, digits, dots, dashes and underscores, 100 at most", m.Name)
	problem(isText(m.Version), "field version: %q has bytes that cannot be shown", m.Version)
	problem(m.Loader != "", "field loader is missing: it says what runs the code")
	problem(m.Code != "", "field code is missing: it names the file with the code")
	checksum, err := hex.DecodeString(m.SHA256)
	problem(m.SHA256 == "" || err == nil && len(checksum) == 32, "field sha256: %q is not 64 hex digits", m.SHA256)
	for _, name := range m.Services {
		problem(protoreflect.FullName(name).IsValid(), "field services: %q is not the full name of a service", name)
	}
	for _, name := range slices.Sorted(maps.Keys(m.WireNames)) {
		problem(m.Descriptors != "", "field wire_names: %q has no descriptor: name them in the field descriptors", name)
		problem(len(m.Services) == 0 || slices.Contains(m.Services, name),
			"field wire_names: %q is not in the field services", name)
	}
	problem(m.Limits.Timeout >= 0 && m.Limits.Memory >= 0 && m.Limits.Instances >= 0, "field limits: a limit is negative")
	for _, argument := range m.Args {
		problem(!strings.ContainsRune(argument, 0), "field args: %q has a NUL", argument)
	}
	for _, entry := range m.Env {
		name, _, found := strings.Cut(entry, "=")
		problem(found && name != "" && !strings.ContainsRune(entry, 0), "field env: %q is not of the form name=value", entry)
		problem(!strings.HasPrefix(name, reservedEnvPrefix),
			"field env: %q: names that begin with %s are the loader's", entry, reservedEnvPrefix)
	}
	return errors.Join(problems...)
}

func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func invalid(format string, args ...any) error {
	return errors.NewErrorf(errors.InvalidArgument, format, args...)
}

// String returns the duration as time.Duration does.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText returns what [Duration.UnmarshalText] takes.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText takes what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		return invalid("%q is not a duration such as 1.5s", text)
	}
	*d = Duration(parsed)
	return nil
}
