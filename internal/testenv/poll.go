package testenv

import (
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	startTimeout = 30 * time.Second // starting a server is slow on a machine under load
	pollInterval = 5 * time.Millisecond
)

// poll calls check repeatedly until it returns nil. If startTimeout expires or stop is closed
// first, poll returns an error that wraps the last error from check. stop may be nil.
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
