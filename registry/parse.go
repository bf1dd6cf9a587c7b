package registry

import (
	"fmt"
	"io/fs"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// ParseProto compiles .proto sources and adds all services of the named files, or none on error.
// The names are paths in fsys, as for its Open method.
//
// Imports are resolved in fsys by the path in the import statement. Protobuf's own files
// (google/protobuf/...) and the psrpc options are built in, the options both as "options.proto" and
// as "psrpc/options.proto"; a file with such a path in fsys takes precedence. Imports that fsys
// lacks are resolved from the generated code that is linked into the program. Descriptors keep the
// comments and positions of the sources.
//
// Mistakes are errors of type *[SchemaError] with file, line and column, joined; at most a hundred
// are reported. For a missing file or import, errors.Is(err, fs.ErrNotExist) is true. Other errors
// are those of [Registry.RegisterFile]. Some of the files may have no services, but not all of
// them. The limits of a source are 4 MiB, 16 KiB per line and a hundred nested brackets.
func (r *Registry) ParseProto(fsys fs.FS, files ...string) error {
	if isNil(fsys) {
		return fmt.Errorf("%w: the file system is nil", ErrNoService)
	}
	if len(files) == 0 {
		return fmt.Errorf("%w: no .proto files given", ErrNoService)
	}
	var services []protoreflect.ServiceDescriptor
	err := recoverToError(func() error {
		parsed, err := parseFiles(fsys, files)
		for _, fd := range parsed {
			services = append(services, servicesOf(fd)...)
		}
		return err
	})
	if err != nil {
		return err
	}
	return r.registerAll(services)
}

// parseFiles compiles the named files.
func parseFiles(fsys fs.FS, names []string) ([]protoreflect.FileDescriptor, error) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	sources, err := loadSources(fsys, names)
	if err != nil {
		return nil, err
	}
	return compile(names, sources)
}
