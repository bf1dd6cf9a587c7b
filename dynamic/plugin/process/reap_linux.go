package process

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// reap waits for the end of the process and kills the rest of its group. It waits without reaping
// first: until the process is reaped, no other process can get its id.
func (p *process) reap() error {
	pid := p.command.Process.Pid
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	p.signal(killGroup)
	p.mu.Lock()
	p.reaped = true
	p.mu.Unlock()
	return p.command.Wait()
}

// attributes returns attributes for a process group of its own. The kernel kills the process when
// the host dies.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
