//go:build !unix

package process

import (
	"os"
	"syscall"
)

// terminateGroup does nothing: the end of its input tells the process.
func terminateGroup(int) error { return nil }

func killGroup(pid int) error {
	process, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return process.Kill()
}

func attributes() *syscall.SysProcAttr { return nil }
