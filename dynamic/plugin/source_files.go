package plugin

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// What a folder may have, in bytes.
const (
	maxManifest   = 1 << 20
	maxDescriptor = 16 << 20
	maxCode       = 512 << 20
	maxSources    = 64 << 20 // all .proto sources together
)

// sourceFiles reads files of a folder and remembers what they were. It is the file system for .proto sources, too.
type sourceFiles struct {
	folder     fs.FS
	sums       map[string][sha256.Size]byte // by name
	protoBytes int                          // bytes that were read by Open
}

func newSourceFiles(folder fs.FS) *sourceFiles {
	return &sourceFiles{folder: folder, sums: map[string][sha256.Size]byte{}}
}

// read returns a regular file of at most limit bytes.
func (f *sourceFiles) read(name string, limit int64) ([]byte, error) {
	if !fs.ValidPath(name) || name == "." {
		return nil, invalid("%q is not a path inside the plugin's folder: write it with slashes and without dots", name)
	}
	info, err := fs.Stat(f.folder, name) // before it is opened, for to open a pipe would wait
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.NewErrorf(errors.NotFound, "%s is not in the plugin's folder: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, invalid("%s is not a regular file", name)
	}
	file, err := f.folder.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, errors.NewErrorf(errors.ResourceExhausted, "%s is larger than %d bytes", name, limit)
	}
	f.sums[name] = sha256.Sum256(content)
	return content, nil
}

// Open reads a .proto source for the parser.
func (f *sourceFiles) Open(name string) (fs.File, error) {
	content, err := f.read(name, int64(maxSources-f.protoBytes))
	if err != nil {
		return nil, err
	}
	f.protoBytes += len(content)
	return &memoryFile{name: name, Reader: bytes.NewReader(content)}, nil
}

// Stat tells the parser of a file, before it opens it.
func (f *sourceFiles) Stat(name string) (fs.FileInfo, error) { return fs.Stat(f.folder, name) }

// fingerprint tells apart everything that was read.
func (f *sourceFiles) fingerprint() string {
	all := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(f.sums)) {
		_, _ = fmt.Fprintf(all, "%q %x\n", name, f.sums[name])
	}
	return hex.EncodeToString(all.Sum(nil))
}

// memoryFile is a file that is in memory.
type memoryFile struct {
	*bytes.Reader

	name string
}

func (f *memoryFile) Stat() (fs.FileInfo, error) {
	return nil, &fs.PathError{Op: "stat", Path: f.name, Err: errors.ErrUnsupported}
}

func (f *memoryFile) Close() error { return nil }
