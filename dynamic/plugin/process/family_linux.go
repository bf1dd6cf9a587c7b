package process

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// killTimeout is the maximum time that killMarked takes.
const killTimeout = time.Second

// killMarked kills all processes whose environment contains mark, and returns when they have ended
// or killTimeout has passed. It also finds descendants in other process groups and sessions. It
// repeats the search, because a process may have started another one during the search.
func killMarked(mark string) {
	for deadline := time.Now().Add(killTimeout); killOnce(mark) && time.Now().Before(deadline); {
		<-time.After(time.Millisecond)
	}
}

// killOnce kills all processes whose environment contains mark. It reports whether there were any.
func killOnce(mark string) (found bool) {
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range processes {
		if !hasMark(folder, mark) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil || pid == os.Getpid() {
			continue
		}
		process, err := os.FindProcess(pid)
		if err != nil {
			continue
		}
		// hasMark is called again, because the process ID may have been given to another process in
		// the meantime.
		if hasMark(folder, mark) {
			found = process.Kill() == nil || found
		}
		_ = process.Release()
	}
	return found
}

// hasMark reports whether the environment of a process contains mark. folder is the folder of the
// process in /proc. If the process has ended, its environment is empty.
func hasMark(folder, mark string) bool {
	environment, err := os.ReadFile(filepath.Join(folder, "environ")) //nolint:gosec // below /proc
	return err == nil && bytes.Contains(append([]byte{0}, environment...), []byte("\x00"+mark+"\x00"))
}

// isNoexec reports whether the file system of path is mounted with the option noexec.
func isNoexec(path string) bool {
	var stat unix.Statfs_t
	return unix.Statfs(path, &stat) == nil && stat.Flags&unix.ST_NOEXEC != 0
}
