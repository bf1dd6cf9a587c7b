//go:build !unix

package process

import (
	"os"
	"syscall"
)

// terminateGroup does nothing, because this system cannot send SIGTERM. The process must exit when
// its standard input is closed.
func terminateGroup(int) error { return nil }

// killGroup kills only the process, but not its descendants.
func killGroup(pid int) error {
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return process.Kill()
}

func attributes() *syscall.SysProcAttr { return nil }
