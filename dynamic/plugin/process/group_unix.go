//go:build unix

package process

import "syscall"

// terminateGroup sends SIGTERM to a process group.
func terminateGroup(pid int) error { return syscall.Kill(-pid, syscall.SIGTERM) }

// killGroup sends SIGKILL to a process group.
func killGroup(pid int) error { return syscall.Kill(-pid, syscall.SIGKILL) }
