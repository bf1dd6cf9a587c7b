//go:build !linux

package process

// reap waits for the end of the process. Its descendants keep running.
func (p *process) reap() error {
	err := p.command.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	return err
}
