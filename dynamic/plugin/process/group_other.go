//go:build !unix

package process

import (
	"os"
	"syscall"
)

// terminateGroup does nothing: the process ends when its standard input does.
func terminateGroup(int) error { return nil }

// killGroup kills the process only, not its descendants.
func killGroup(pid int) error {
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return process.Kill()
}

func attributes() *syscall.SysProcAttr { return nil }
