//go:build unix && !linux

package process

import "syscall"

// attributes make a group.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
