package registry

import (
	"io/fs"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// ImportRoots joins several directories of .proto files into one file system for
// [Registry.ParseProto], as several -I flags do for protoc:
//
//	files := registry.ImportRoots(os.DirFS("protos"), os.DirFS("third_party/googleapis"))
//	err := reg.ParseProto(files, "shop/orders.proto")
//
// A file is opened in the first root that contains it. Roots that are nil are ignored. If several
// roots contain the same directory, a listing shows only the files in the first of these roots.
func ImportRoots(roots ...fs.FS) fs.FS { return importRoots(roots) }

type importRoots []fs.FS

// Open implements fs.FS.
func (r importRoots) Open(name string) (fs.File, error) {
	for _, root := range r {
		if nilarg.Is(root) {
			continue
		}
		file, err := root.Open(name)
		if !errors.Is(err, fs.ErrNotExist) {
			return file, err
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}
