package testenv

import (
	"fmt"
	"os"
	"syscall"
)

// killWithParent returns process attributes that make the kernel kill the process when its parent,
// the test binary, exits.
func killWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// stopProcess stops a child process and returns when it has stopped.
func stopProcess(process *os.Process) error {
	if err := process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	var status syscall.WaitStatus // SIGSTOP does not take effect immediately, so wait
	if _, err := syscall.Wait4(process.Pid, &status, syscall.WUNTRACED, nil); err != nil {
		return err
	}
	if !status.Stopped() {
		return fmt.Errorf("its wait status is %#x", status)
	}
	return nil
}

// continueProcess continues a stopped process.
func continueProcess(process *os.Process) error { return process.Signal(syscall.SIGCONT) }
