//go:build !linux

package testenv

import "syscall"

// killWithParent returns nil, because only Linux can kill a process when its parent exits.
func killWithParent() *syscall.SysProcAttr { return nil }

func (p *process) pause() {
	p.tb.Helper()
	p.tb.Fatal("processes can be paused on Linux only")
}

func (p *process) resume() {
	p.tb.Helper()
	p.tb.Fatal("processes can be resumed on Linux only")
}
