package registry

import (
	"fmt"
	"io/fs"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// ParseProto compiles .proto sources and adds all services of the named files, or none if there is an
// error. Names are paths in fsys, as in its Open method.
//
// Imports are looked up in fsys by the path that the import statement gives. Protobuf's own files
// (google/protobuf/...) and the psrpc options are built in, the latter as "options.proto" and as
// "psrpc/options.proto"; a file of that path in fsys is used instead. Any other file that fsys lacks is
// taken from the generated code that the program links. Descriptors keep the comments and positions of the
// sources.
//
// Mistakes are errors of type *[SchemaError] with file, line and column, all of them joined (at most a
// hundred). errors.Is(err, fs.ErrNotExist) reports a missing file or import. Other errors are those of
// [Registry.RegisterFile]; files without services are fine as long as one has some. A source may
// have 4 MiB, lines of 16 KiB and a hundred nested brackets.
func (r *Registry) ParseProto(fsys fs.FS, files ...string) error {
	if isNil(fsys) {
		return fmt.Errorf("%w: the file system is nil", ErrNoService)
	}
	if len(files) == 0 {
		return fmt.Errorf("%w: name the .proto files to parse", ErrNoService)
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
