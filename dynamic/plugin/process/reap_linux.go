package process

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// reap waits for the end of the process and then ends what is left of its group, before its id can be another's.
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

// attributes make a group, which the system kills when the host dies.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
