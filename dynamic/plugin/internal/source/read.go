package source

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// maxManifest is the maximum size of a manifest, in bytes.
const maxManifest = 1 << 20

// Reader reads the folders of plugins.
type Reader struct {
	// Manifest is the name of the file with the manifest.
	Manifest string
	// Parse parses a manifest. Reader calls it once for each folder.
	Parse func(manifest []byte) (Selection, error)
}

// readResult is the result of Read.
type readResult struct {
	content *Content
	err     error
}

// ReadWithin is like [Reader.Read], but returns an error if ctx ends first. Reading then continues
// in the background and may still call Parse. A read from a file system that does not respond
// cannot be interrupted.
func (r Reader) ReadWithin(ctx context.Context, folder string) (*Content, error) {
	read := make(chan readResult, 1)
	// No function waits for this goroutine, because reading may never end.
	go func() {
		content, err := r.Read(folder)
		read <- readResult{content, err}
	}()
	select {
	case result := <-read:
		return result.content, result.err
	case <-ctx.Done():
		return nil, errors.NewErrorf(errors.FromContext(ctx.Err()).Code(), "the folder could not be read in time: %w", ctx.Err())
	}
}

// Read reads the manifest, the descriptors and the code from a folder.
func (r Reader) Read(folder string) (*Content, error) {
	root, err := openFolder(folder)
	if err != nil {
		return nil, errors.NewErrorf(Code(err), "cannot open the folder: %w", err)
	}
	defer root.Close() //nolint:errcheck // the folder was only read
	return r.readFS(folderFS{root})
}

// openFolder opens a plugin's folder. It appends "/." to the path, so that opening fails at once if
// the path leads to a FIFO. Otherwise, the system would wait until another process opens the FIFO
// for writing.
func openFolder(folder string) (*os.Root, error) {
	return os.OpenRoot(folder + string(filepath.Separator) + ".")
}

// readFS reads a plugin from the file system of its folder.
func (r Reader) readFS(folder fs.FS) (*Content, error) {
	files, selection, err := r.readManifest(folder)
	if err != nil {
		return nil, errors.NewErrorf(Code(err), "manifest %s: %w", r.Manifest, err)
	}
	content := &Content{}
	if err := content.readServices(files, r.Manifest, selection); err != nil {
		return nil, err
	}
	if err := content.readCode(files, selection); err != nil {
		return nil, errors.NewErrorf(Code(err), "field code of %s: %w", r.Manifest, err)
	}
	content.Fingerprint = files.fingerprint()
	return content, nil
}

// readManifest reads and parses the manifest. The caller uses the returned files to read the other
// files.
func (r Reader) readManifest(folder fs.FS) (*files, Selection, error) {
	files := newFiles(folder)
	data, err := files.read(r.Manifest, maxManifest)
	if err != nil {
		return nil, Selection{}, err
	}
	selection, err := r.Parse(data)
	return files, selection, err
}

// ReadManifest reads only the manifest of a folder and calls Parse.
func (r Reader) ReadManifest(folder string) error {
	root, err := openFolder(folder)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // the folder was only read
	_, _, err = r.readManifest(folderFS{root})
	return err
}
