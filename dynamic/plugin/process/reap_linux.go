package process

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// reap waits until the process exits, kills the rest of its process group, and then reaps the
// process. The group is killed first because, once the process is reaped, its ID may be assigned to
// another process.
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

// attributes returns the attributes of plugin processes. They make each process start in a process
// group of its own, and make the kernel kill the process when the host dies.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
