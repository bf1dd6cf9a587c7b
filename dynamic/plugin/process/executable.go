package process

import (
	"log/slog"
	"path/filepath"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/childproto"
	"github.com/dynpsrpc/dynpsrpc/internal/privatecopy"
)

// copyPrefix is the prefix of the names of the directories with private copies.
const copyPrefix = "dynpsrpc-plugin-"

// executable is a private copy of a plugin's code in its own directory. The copy can keep running
// while the plugin's folder changes.
type executable struct {
	folder *privatecopy.Folder
	path   string
}

func newExecutable(directory string, source *plugin.Source) (*executable, error) {
	folder, err := privatecopy.New(directory, copyPrefix)
	if err != nil {
		return nil, err
	}
	path, err := folder.WriteProgram(source.Digest+filepath.Ext(source.Code), source.Content)
	if err != nil {
		return nil, errors.Join(err, folder.Remove())
	}
	return &executable{folder, path}, nil
}

// mark returns the environment variable by which the descendants of the process are found.
func (e *executable) mark() string { return markOf(e.folder.Path) }

// markOf returns the mark of the executable in a folder. It ends with a slash, so that no mark is a
// prefix of another one.
func markOf(folder string) string { return childproto.EnvInstance + "=" + folder + "/" }

// remove deletes the copy and its directory, and logs a warning if that fails.
func (e *executable) remove(logger *slog.Logger) {
	if err := e.folder.Remove(); err != nil {
		logger.Warn("dynpsrpc: cannot remove the private copy of a plugin", slog.Any("error", err))
	}
}
