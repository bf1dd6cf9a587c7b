package natsbus

import "time"

// WithConfirmInterval sets the minimum time for which a delivery report waits for a no-responders
// status. With a long interval, each frame that no process handles is reported, no matter how long
// other processes take to forward it.
func WithConfirmInterval(interval time.Duration) Option {
	return func(o *options) { o.confirmInterval = interval }
}

// WithTrialTimeout sets how long a frame of a trial has to come back. With a long timeout, a trial
// does not succeed by mistake, no matter how long the frame takes. The timeout must not be long if
// another process serves the method, because no trial would succeed.
func WithTrialTimeout(timeout time.Duration) Option {
	return func(o *options) { o.trialTimeout = timeout }
}
