//go:build unix && !linux

package process

import "syscall"

// attributes makes each plugin process start in a process group of its own.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
