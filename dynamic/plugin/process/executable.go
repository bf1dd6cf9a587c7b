package process

import (
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// executable is a private copy, in a folder of its own.
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

// writeProgram forks nothing meanwhile: a child that had the file open for writing would keep it from being run.
func writeProgram(path string, content []byte) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, content, 0o700) //nolint:gosec // it is a program
}

func (e *executable) remove(logger *slog.Logger) {
	if err := os.RemoveAll(e.folder); err != nil {
		logger.Warn("dynpsrpc: the private copy of a plugin cannot be removed", slog.Any("error", err))
	}
}
