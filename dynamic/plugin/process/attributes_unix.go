//go:build unix && !linux

package process

import "syscall"

// attributes returns attributes for a process group of its own.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
