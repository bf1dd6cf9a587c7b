package fanout

// CloseStarter is implemented by the subscriptions of buses that let several subscribers share a
// subscription on the broker.
type CloseStarter interface {
	// StartClose makes the subscription stop sharing its subscription on the broker, and returns
	// without waiting for the broker. Frames are still delivered until Close, which the caller must
	// call afterwards. If several subscriptions are to be closed, StartClose should be called for
	// all of them before the first call to Close. The broker then sends no frames for a
	// subscription that has already been removed. StartClose may be called more than once.
	StartClose()
}
