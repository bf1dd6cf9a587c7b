//go:build unix

package process

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
)

// guardianScript is the shell script that cleans up after a host that was killed. When the host
// dies, the operating system closes the standard input of the script. The script then kills the
// process group whose ID is the last line of the input. On systems with /proc, it also kills all
// processes whose environment contains $1. Finally, it deletes the folder $2.
const guardianScript = `
trap '' HUP INT TERM
while read -r line; do group=$line; done
[ -n "$group" ] && kill -9 "-$group" 2>/dev/null
for round in 1 2 3 4 5 6 7 8 9 10; do
	found=
	for process in $(grep -lF -e "$1" /proc/[0-9]*/environ 2>/dev/null); do
		process=${process#/proc/}
		kill -9 "${process%/environ}" 2>/dev/null && found=yes
	done
	[ -z "$found" ] && break
done
rm -rf -- "$2"
`

// guardian is a process that cleans up if the host is killed. It kills the process of a plugin and
// its descendants, and deletes the plugin's private copy. Without a guardian, these processes could
// keep running. Linux can kill a process when its parent dies, but not the descendants of that
// process. Other systems cannot even do that.
type guardian struct {
	command *exec.Cmd
	input   io.WriteCloser
}

// startGuardian starts a guardian. If this fails, for example because there is no shell, it returns
// nil. The methods of a nil guardian do nothing.
func startGuardian(e *executable, logger *slog.Logger) *guardian {
	command := exec.Command("/bin/sh", "-c", guardianScript, "dynpsrpc-guardian", e.mark(), e.folder.Path) //nolint:gosec,noctx // it outlives the host
	command.Dir = "/"
	command.Env = []string{"PATH=" + os.Getenv("PATH")}
	// In its own session, the guardian receives no signals from the host's terminal.
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	input, err := command.StdinPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		logger.Debug("dynpsrpc: the children of a plugin would outlive a host that is killed", slog.Any("error", err))
		return nil
	}
	return &guardian{command, input}
}

// setGroup tells the guardian which process group to kill if the host dies. If id is 0, the
// guardian kills no group.
func (g *guardian) setGroup(id int) {
	if g == nil {
		return
	}
	line := "\n"
	if id != 0 {
		line = fmt.Sprintln(id)
	}
	_, _ = io.WriteString(g.input, line) // this fails if the guardian has been killed
}

// dismiss ends the guardian without any cleanup.
func (g *guardian) dismiss() {
	if g == nil {
		return
	}
	// Kill the guardian before closing its input, because the end of the input starts the cleanup.
	_ = g.command.Process.Kill()
	_ = g.input.Close()
	_ = g.command.Wait()
}
