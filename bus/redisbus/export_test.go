package redisbus

// NewClientLogger gives tests access to newClientLogger.
var NewClientLogger = newClientLogger
