package testenv

import "syscall"

// killWithParent returns process attributes that make the kernel kill the process when its parent,
// the test binary, exits.
func killWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

func (p *process) pause() {
	p.tb.Helper()
	p.signal(syscall.SIGSTOP)
	var status syscall.WaitStatus // SIGSTOP does not take effect immediately, so wait
	if _, err := syscall.Wait4(p.running.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		p.tb.Fatalf("%s was not paused: %v, wait status %#x", p.program, err, status)
	}
}

func (p *process) resume() {
	p.tb.Helper()
	p.signal(syscall.SIGCONT)
}
