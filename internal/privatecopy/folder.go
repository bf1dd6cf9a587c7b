package privatecopy

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// lockName is the name of a file in each folder. The process that made the folder keeps this
	// file locked until the process ends.
	lockName = "host.lock"
	// maxAttempts is how many folders New tries to make and lock before it gives up.
	maxAttempts = 100
)

// Folder is a temporary folder that belongs to this process.
type Folder struct {
	// Path is the path of the folder.
	Path string

	lock *os.File
}

// New makes a folder in directory and locks it, so that RemoveStale does not delete it while this
// process runs. The name of the folder begins with prefix.
func New(directory, prefix string) (*Folder, error) {
	for range maxAttempts {
		path, err := os.MkdirTemp(directory, prefix+"*")
		if err != nil {
			return nil, err
		}
		lock, err := lockNew(filepath.Join(path, lockName))
		switch {
		case errors.Is(err, os.ErrNotExist): // another process has removed the folder
		case err != nil:
			return nil, errors.Join(err, os.RemoveAll(path))
		default:
			return &Folder{path, lock}, nil
		}
	}
	return nil, errors.New("folders are removed as soon as they are made")
}

// lockNew makes a file and locks it. It returns os.ErrNotExist if RemoveStale has removed the file
// before it was locked. On systems without file locks, the file is not locked.
func lockNew(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // a path of this package
	if err != nil {
		return nil, err
	}
	waitForLock(file)
	found, err := os.Stat(path)
	if err == nil {
		var locked os.FileInfo
		if locked, err = file.Stat(); err == nil && !os.SameFile(found, locked) {
			err = os.ErrNotExist
		}
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// WriteProgram writes an executable file and returns its path. While the file is open for writing,
// WriteProgram holds syscall.ForkLock, so that this process cannot fork. Otherwise, a forked
// process could inherit the open file, and running the file would fail with "text file busy".
func (f *Folder) WriteProgram(name string, content []byte) (path string, err error) {
	path = filepath.Join(f.Path, name)
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return path, os.WriteFile(path, content, 0o700) //nolint:gosec // the file is executed
}

// Remove deletes the folder with its content and releases its lock.
func (f *Folder) Remove() error { return errors.Join(os.RemoveAll(f.Path), f.lock.Close()) }

// RemoveStale deletes the folders that New has made with the same directory and prefix in processes
// that have ended. It calls before(path) for each of these folders before it deletes the folder.
// Folders that cannot be deleted stay. On systems without file locks, RemoveStale does nothing.
func RemoveStale(directory, prefix string, before func(folder string)) {
	entries, _ := os.ReadDir(directory) // if this fails, a later call can try again
	for _, entry := range entries {
		if !entry.IsDir() || !strings.HasPrefix(entry.Name(), prefix) {
			continue
		}
		folder := filepath.Join(directory, entry.Name())
		lock := tryLock(filepath.Join(folder, lockName))
		if lock == nil {
			continue
		}
		before(folder)
		_ = os.RemoveAll(folder)
		_ = lock.Close()
	}
}
