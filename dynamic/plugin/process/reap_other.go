//go:build !linux

package process

// reap waits until the process exits and reaps it. Descendants of the process keep running.
func (p *process) reap() error {
	err := p.command.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaped = true
	return err
}
