//go:build unix && !linux

package process

import "syscall"

// attributes returns the attributes of plugin processes. They make each process start in a process
// group of its own.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
