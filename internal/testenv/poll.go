package testenv

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	startTimeout = 30 * time.Second // long enough for a machine under load
	pollInterval = 5 * time.Millisecond
)

// poll calls check until it succeeds. It returns the last error of check after startTimeout, or
// when stop is closed. stop may be nil.
func poll(stop <-chan struct{}, check func() error) error {
	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-stop:
			return errors.NewErrorf(errors.Unavailable, "%w, and ended", err)
		case <-deadline.C:
			return errors.NewErrorf(errors.Unavailable, "%w after %s", err, startTimeout)
		}
	}
}
