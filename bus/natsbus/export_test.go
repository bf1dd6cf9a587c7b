package natsbus

import "time"

// WithConfirmInterval sets the minimum time for which a delivery report waits for a no-responders
// status. With a long interval, each frame that no process handles is reported, no matter how long
// other processes take to forward it.
func WithConfirmInterval(interval time.Duration) Option {
	return func(o *options) { o.confirmInterval = interval }
}

// WithTrialTimeout sets how long a frame of a trial may take to come back. With a long timeout, a
// trial does not succeed by mistake, no matter how long the frame takes. The timeout must not be
// long if another process serves the method, because no trial would succeed.
func WithTrialTimeout(timeout time.Duration) Option {
	return func(o *options) { o.trialTimeout = timeout }
}

// WithSampleTimeout sets the time after which a sample counts as not acknowledged. With a long
// timeout, the bus does not turn direct publication off because the machine is slow. It must only
// be used if there are no psrpc processes.
func WithSampleTimeout(timeout time.Duration) Option {
	return func(o *options) { o.sampleTimeout = timeout }
}
