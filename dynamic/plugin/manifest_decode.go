package plugin

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

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
// fieldNames returns the names of its fields instead, each prefixed with the name of the outer
// field and a dot.
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
