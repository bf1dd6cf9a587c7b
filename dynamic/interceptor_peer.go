package dynamic

// WithPeer has *serverID set, when the call ends, to the id of the server that has answered it, or else of the one that was
// selected to; empty if neither is known. It is of effect for single calls. An interceptor may add it, if serverID is its own.
func WithPeer(serverID *string) RequestOption {
	return requestOption(func(o *requestOptions) { o.serverIDs = append(o.serverIDs, serverID) })
}

// PeerOf returns, inside of Recv of an interceptor's handler, the id of the server whose response is on its way; next is
// what the interceptor was given. It is empty if there is none, and for other handlers.
func PeerOf(next ClientMultiRPCHandler) string {
	stage, ok := next.(multiStage)
	if !ok {
		return ""
	}
	stage.chain.mu.Lock()
	defer stage.chain.mu.Unlock()
	return stage.chain.currentServer
}

// responder is the server that has answered, or was selected to.
func (c *unaryCall) responder() string {
	if state := c.inbox.snapshot(); state.answered {
		return string(state.server)
	}
	return c.server
}
