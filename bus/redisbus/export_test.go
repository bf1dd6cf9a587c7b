package redisbus

import "time"

// NewClientLogger gives tests access to newClientLogger.
var NewClientLogger = newClientLogger

// WithLockRetryTimeout sets how long a bus repeats an attempt to take a lock. With a long timeout,
// a frame is not lost because the machine is slow.
func WithLockRetryTimeout(timeout time.Duration) Option {
	return func(o *options) { o.lockRetryTimeout = timeout }
}
