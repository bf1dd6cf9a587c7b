// Package transport contains the code that the client side and the server side of package dynamic
// share for using a bus: it decodes frames, limits their size, compresses them, manages
// subscriptions, and classifies errors. It does not depend on calls, streams or handlers.
package transport
