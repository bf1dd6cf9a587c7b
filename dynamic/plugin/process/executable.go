package process

import (
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// executable is a private copy of a plugin's code, in a folder of its own. The copy keeps running
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

// writeProgram writes an executable file. It holds ForkLock because a process that is forked
// meanwhile inherits the open file, and then running the file fails with "text file busy".
func writeProgram(path string, content []byte) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, content, 0o700) //nolint:gosec // it is a program
}

// remove deletes the copy and its folder.
func (e *executable) remove(logger *slog.Logger) {
	if err := os.RemoveAll(e.folder); err != nil {
		logger.Warn("dynpsrpc: cannot remove the private copy of a plugin", slog.Any("error", err))
	}
}
