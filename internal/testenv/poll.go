package testenv

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	startTimeout = 30 * time.Second // a busy machine is slow
	pollInterval = 5 * time.Millisecond
)

// poll calls check until it succeeds. It gives up, with the error of check, when startTimeout has passed or gone, which
// may be nil, is closed.
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
