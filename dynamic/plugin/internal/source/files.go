package source

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// maxSources is the maximum total size of all .proto sources, in bytes.
const maxSources = 64 << 20

// pathEscapes is the text of the error that package os returns for a link that leads out of an
// os.Root. Package os does not export this error.
const pathEscapes = "path escapes from parent"

// folderFS is the file system of a plugin's folder. Opening a FIFO in it does not wait for a
// writer.
type folderFS struct{ root *os.Root }

// Open implements fs.FS.
func (f folderFS) Open(name string) (fs.File, error) {
	return f.root.OpenFile(name, os.O_RDONLY|openNonblocking, 0)
}

// Stat implements fs.StatFS.
func (f folderFS) Stat(name string) (fs.FileInfo, error) { return f.root.Stat(name) }

// files reads the files of a plugin's folder and records their checksums. It also serves as
// the file system from which the parser reads .proto sources.
type files struct {
	folder fs.FS
	// sums contains the checksum of each file that has been read, keyed by file name.
	sums map[string][sha256.Size]byte
	// protoBytes is the total size of the files that the parser has opened.
	protoBytes int
}

func newFiles(folder fs.FS) *files {
	return &files{folder: folder, sums: map[string][sha256.Size]byte{}}
}

// read returns the content of a regular file and records its checksum. It returns an error if the
// file is larger than limit bytes.
func (f *files) read(name string, limit int64) ([]byte, error) {
	if !fs.ValidPath(name) || name == "." {
		return nil, invalid("%q is not a path inside the plugin's folder: use forward slashes, and no . or .. elements", name)
	}
	file, err := f.openRegular(name)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // the file was only read
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

// openRegular opens a file and returns an error if it is not a regular file. It checks this before
// opening, because opening a device may have side effects. It checks again afterwards, because the
// file may have been replaced between the check and the opening.
func (f *files) openRegular(name string) (fs.File, error) {
	info, err := fs.Stat(f.folder, name)
	if err == nil && info.Mode().IsRegular() {
		var file fs.File
		if file, err = f.folder.Open(name); err == nil {
			if info, err = file.Stat(); err == nil && info.Mode().IsRegular() {
				return file, nil
			}
			_ = file.Close()
		}
	}
	if err == nil {
		return nil, invalid("%s is not a regular file", name)
	}
	return nil, explain(name, err)
}

// explain adds the name of a file to err. If the file is missing or a link leads out of the folder,
// the text of the new error says so.
func explain(name string, err error) error {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		// Remove the path from err, because the name is added below.
		err = pathError.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.NewErrorf(errors.NotFound, "%s is not in the plugin's folder: %w", name, fs.ErrNotExist)
	case strings.Contains(err.Error(), pathEscapes):
		return invalid("%s is a link, or is behind one, that leads out of the plugin's folder or is absolute: "+
			"make a relative link that stays in the folder: %w", name, err)
	}
	return errors.NewErrorf(Code(err), "%q: %w", name, err)
}

// fingerprint combines the checksums of all files that were read.
func (f *files) fingerprint() string {
	all := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(f.sums)) {
		_, _ = fmt.Fprintf(all, "%q %x\n", name, f.sums[name])
	}
	return hex.EncodeToString(all.Sum(nil))
}

// Open implements fs.FS for the parser. The returned file is in memory.
func (f *files) Open(name string) (fs.File, error) {
	content, err := f.read(name, int64(maxSources-f.protoBytes))
	if err != nil {
		return nil, err
	}
	f.protoBytes += len(content)
	return &memoryFile{name: name, Reader: bytes.NewReader(content)}, nil
}

// Stat implements fs.StatFS. The parser calls it before it opens a file.
func (f *files) Stat(name string) (fs.FileInfo, error) {
	info, err := fs.Stat(f.folder, name)
	if err != nil {
		return nil, explain(name, err)
	}
	return info, nil
}

// memoryFile is an fs.File whose content is in memory.
type memoryFile struct {
	*bytes.Reader

	name string
}

// Stat is not supported and returns an error. The parser calls files.Stat instead.
func (f *memoryFile) Stat() (fs.FileInfo, error) {
	return nil, &fs.PathError{Op: "stat", Path: f.name, Err: errors.ErrUnsupported}
}

// Close does nothing.
func (f *memoryFile) Close() error { return nil }
