//go:build unix && !linux

package process

import "syscall"

// attributes returns attributes that start the process in its own process group.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
