// Package transport contains the code with which both the client side and the server side of
// package dynamic use a bus. It decodes frames, limits their size, compresses them, counts and logs
// the frames that are dropped, manages subscriptions, and classifies errors. It does not depend on
// calls, streams or handlers.
package transport
