package process

import (
	"log/slog"
	"path/filepath"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/childproto"
	"github.com/dynpsrpc/dynpsrpc/internal/privatecopy"
)

// copyPrefix is the prefix of the names of temporary directories. Each of these directories
// contains a private copy of a plugin.
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

// mark returns an environment variable of the process, in the form name=value. The host finds the
// descendants of the process by this variable.
func (e *executable) mark() string { return markOf(e.folder.Path) }

// markOf returns the mark (see [executable.mark]) of the executable in a folder. All marks end with
// a slash, so no mark is the beginning of another one.
func markOf(folder string) string { return childproto.EnvInstance + "=" + folder + "/" }

// remove deletes the copy and its directory, and logs a warning if that fails.
func (e *executable) remove(logger *slog.Logger) {
	if err := e.folder.Remove(); err != nil {
		logger.Warn("dynpsrpc: cannot remove the private copy of a plugin", slog.Any("error", err))
	}
}
