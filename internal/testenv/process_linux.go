package testenv

import "syscall"

// killWithParent makes a process that a killed test binary does not leave behind.
func killWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

func (p *process) pause() {
	p.tb.Helper()
	p.signal(syscall.SIGSTOP)
	var status syscall.WaitStatus // its threads may run on for a while
	if _, err := syscall.Wait4(p.running.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		p.tb.Fatalf("%s was not paused: %v, wait status %#x", p.program, err, status)
	}
}

func (p *process) resume() {
	p.tb.Helper()
	p.signal(syscall.SIGCONT)
}
