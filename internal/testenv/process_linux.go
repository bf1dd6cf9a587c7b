package testenv

import "syscall"

// killWithParent makes the kernel kill a process when its parent, the test binary, ends.
func killWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

func (p *process) pause() {
	p.tb.Helper()
	p.signal(syscall.SIGSTOP)
	var status syscall.WaitStatus // SIGSTOP takes effect some time after it was sent
	if _, err := syscall.Wait4(p.running.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		p.tb.Fatalf("%s was not paused: %v, wait status %#x", p.program, err, status)
	}
}

func (p *process) resume() {
	p.tb.Helper()
	p.signal(syscall.SIGCONT)
}
