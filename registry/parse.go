package registry

import (
	"fmt"
	"io/fs"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// ParseProto compiles .proto files and adds all services declared in the named files. If it returns
// an error, no service has been added. The file names are paths in fsys, as accepted by its Open
// method.
//
// Imports are resolved in fsys, using the path in the import statement. Protobuf's own files
// (google/protobuf/...) and the psrpc options are built in; the options can be imported as
// "options.proto" or as "psrpc/options.proto". A file in fsys takes precedence over a built-in file
// with the same path. Imports that are neither in fsys nor built in are resolved from the generated
// Go code in the program. [ImportRoots] joins several directories into one fsys. The descriptors
// retain the comments and positions of the sources.
//
// Mistakes in the sources are reported as errors of type *[SchemaError] with file, line and column.
// ParseProto joins these errors and reports at most 100 of them. If a file or import is missing,
// errors.Is(err, fs.ErrNotExist) is true. Once the sources are compiled, ParseProto leaves out the
// same services as [Registry.RegisterFile] and returns the same errors. Some of the files may
// declare no services, but at least one file must declare a service.
//
// Each source may have at most 16 KiB per line and 100 levels of nested brackets. Its size is
// limited to 4 MiB, unless [WithMaxSourceSize] is used. Descriptor sets have no such limits.
func (r *Registry) ParseProto(fsys fs.FS, files ...string) error {
	if nilarg.Is(fsys) {
		return fmt.Errorf("%w: the file system is nil", ErrNoService)
	}
	if len(files) == 0 {
		return fmt.Errorf("%w: no .proto files given", ErrNoService)
	}
	var services []protoreflect.ServiceDescriptor
	err := recoverToError(func() error {
		parsed, err := parseFiles(sourceTree{fsys, r.options.sourceLimit()}, files)
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

// parseFiles compiles the named files of a tree.
func parseFiles(tree sourceTree, names []string) ([]protoreflect.FileDescriptor, error) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	sources, err := loadSources(tree, names)
	if err != nil {
		return nil, err
	}
	return compile(names, sources)
}
