//go:build !linux

package process

// reap waits for the end of the process. What is left of its group goes on.
func (p *process) reap() error {
	err := p.command.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	return err
}
