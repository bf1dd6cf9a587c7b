package process

import (
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// executable is a private copy of a plugin's code in its own directory. The copy can keep running
// while the plugin's folder changes.
type executable struct{ folder, path string }

func newExecutable(directory string, source *plugin.Source) (*executable, error) {
	folder, err := os.MkdirTemp(directory, "dynpsrpc-plugin-*")
	if err != nil {
		return nil, err
	}
	e := &executable{folder: folder, path: filepath.Join(folder, source.Digest+filepath.Ext(source.Code))}
	if err := writeProgram(e.path, source.Content); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return e, nil
}

// writeProgram writes an executable file. While the file is open for writing, writeProgram holds
// ForkLock so that the host cannot fork. A forked process would inherit the open file, and running
// the file would then fail with "text file busy".
func writeProgram(path string, content []byte) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, content, 0o700) //nolint:gosec // the file is executed
}

// remove deletes the copy and its directory, and logs a warning if that fails.
func (e *executable) remove(logger *slog.Logger) {
	if err := os.RemoveAll(e.folder); err != nil {
		logger.Warn("dynpsrpc: cannot remove the private copy of a plugin", slog.Any("error", err))
	}
}
