//go:build !linux

package testenv

import "syscall"

// endWithParent does nothing: only Linux can kill the processes of a test binary that is killed.
func endWithParent() *syscall.SysProcAttr { return nil }

func (p *process) pause() {
	p.tb.Helper()
	p.tb.Fatal("processes can be paused on Linux only")
}

func (p *process) resume() {
	p.tb.Helper()
	p.tb.Fatal("processes can be resumed on Linux only")
}
