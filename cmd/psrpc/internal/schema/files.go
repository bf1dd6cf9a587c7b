package schema

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Files are the files that the user has named.
type Files struct {
	// Proto contains paths of .proto files, or patterns such as protos/*.proto.
	Proto []string
	// Import contains the directories in which imports are searched, like the flag -I of protoc. If
	// it is empty, each file's imports are searched in the directory of the file.
	Import []string
	// DescriptorSet contains paths of descriptor sets.
	DescriptorSet []string

	loaded bool
}

// LoadInto adds the services of the files to reg. Once it has succeeded, further calls do nothing.
func (f *Files) LoadInto(reg *registry.Registry) error {
	if f.loaded {
		return nil
	}
	for _, path := range f.DescriptorSet {
		if err := reg.LoadDescriptorSet(os.DirFS(filepath.Dir(path)), filepath.Base(path)); err != nil {
			return err
		}
	}
	sources, err := f.sources()
	if err != nil {
		return err
	}
	for _, s := range sources {
		if err := s.load(reg); err != nil {
			return err
		}
	}
	f.loaded = true
	return nil
}

// Named reports whether the user has named any file.
func (f *Files) Named() bool { return len(f.Proto)+len(f.DescriptorSet) > 0 }

// tried tells the user which files were searched.
func (f *Files) tried() string {
	if !f.Named() {
		return "files: none given; -p names .proto files"
	}
	return "files: not in " + strings.Join(slices.Concat(f.Proto, f.DescriptorSet), ", ")
}

// source is a group of .proto files whose imports are searched in the same directories, the roots.
type source struct {
	roots []string
	// names are the paths of the files, relative to one of the roots and with slashes.
	names []string
	// guessed is true if the user has not named the roots. The only root is then the directory of
	// the file.
	guessed bool
}

// sources returns the .proto files, grouped by their roots.
func (f *Files) sources() ([]*source, error) {
	var sources []*source
	for _, pattern := range f.Proto {
		paths, err := expand(pattern)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			s, name, err := f.sourceOf(path)
			if err != nil {
				return nil, err
			}
			i := slices.IndexFunc(sources, func(other *source) bool { return slices.Equal(other.roots, s.roots) })
			if i < 0 {
				i = len(sources)
				sources = append(sources, s)
			}
			sources[i].names = append(sources[i].names, name)
		}
	}
	return sources, nil
}

// expand returns the files that a pattern matches. A pattern without wildcards is returned as it
// is, even if there is no such file.
func expand(pattern string) ([]string, error) {
	if !strings.ContainsAny(pattern, "*?[") {
		return []string{pattern}, nil
	}
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("-p %s: %w", pattern, err)
	}
	if len(paths) == 0 {
		return nil, noSuchFile(pattern)
	}
	return paths, nil
}

func noSuchFile(path string) error {
	return errors.NewErrorf(errors.NotFound, "-p %s: there is no such file", path)
}

// sourceOf returns a source with the roots of a file, and the name of the file relative to one of
// them.
func (f *Files) sourceOf(path string) (*source, string, error) {
	if len(f.Import) == 0 {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, "", noSuchFile(path)
		}
		return &source{roots: []string{filepath.Dir(path)}, guessed: true}, filepath.Base(path), nil
	}
	for _, root := range f.Import {
		if name, err := filepath.Rel(root, path); err == nil && filepath.IsLocal(name) {
			return &source{roots: f.Import}, filepath.ToSlash(name), nil
		}
		if _, err := os.Stat(filepath.Join(root, path)); err == nil {
			return &source{roots: f.Import}, filepath.ToSlash(path), nil
		}
	}
	return nil, "", errors.NewErrorf(errors.InvalidArgument,
		"file %s is in none of the directories given with -I: %s", path, strings.Join(f.Import, ", "))
}

// load adds the services of the files to reg.
func (s *source) load(reg *registry.Registry) error {
	roots := make([]fs.FS, len(s.roots))
	for i, root := range s.roots {
		roots[i] = os.DirFS(root)
	}
	err := reg.ParseProto(registry.ImportRoots(roots...), s.names...)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("files in %s: %w", strings.Join(s.roots, ", "), err)
	if s.guessed && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w\n  if an import is missing, name the directory from which it is imported with -I", err)
	}
	return err
}
