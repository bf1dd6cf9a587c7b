//go:build unix && !linux

package process

import "syscall"

// attributes returns the attributes of plugin processes: each process starts in its own process
// group.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
