package explorer

import (
	"context"
	"net/http"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Limits for all open pages together. They protect the program and the fleet from a faulty page.
const (
	// maxEventStreams is the maximum number of open event streams, without those of taps.
	maxEventStreams = 64
	// maxTaps is the maximum number of taps that are open at the same time. Each server permits
	// [fleet.MaxTaps].
	maxTaps = 8
	// maxQuestions is the maximum number of HTTP requests that may wait for answers of servers at
	// the same time.
	maxQuestions = 32
)

// Explorer is an http.Handler that serves the pages and their API. It is safe for concurrent use.
type Explorer struct {
	fleet   *fleet.Fleet
	gateway http.Handler
	options *options
	access  *access
	handler http.Handler
	pages   map[string]*asset

	poller  *poller
	schemas schemaCache
	session *shared[*busInfo]
	doctor  *shared[any]

	streams, taps, questions limit

	// ctx ends when Close is called. Event streams and polls then end, too.
	ctx    context.Context //nolint:containedctx // it has the lifetime of the Explorer
	cancel context.CancelFunc
	// tasks contains the event streams, the polling goroutine, and running functions of the type
	// shared.
	tasks tasks
}

// permit returns an error if a request may not perform the action.
func (e *Explorer) permit(r *http.Request, action Action) error {
	if e.options.readOnly && action.changes() {
		return errReadOnly
	}
	if e.options.authorize != nil {
		return e.options.authorize(r, action)
	}
	return nil
}

var errReadOnly = errors.NewErrorf(errors.PermissionDenied, "the explorer is read-only")

// ServeHTTP implements http.Handler.
func (e *Explorer) ServeHTTP(w http.ResponseWriter, r *http.Request) { e.handler.ServeHTTP(w, r) }

// LoginURL returns the link that opens the pages. base is the URL of the explorer, such as
// "http://127.0.0.1:8324". The link contains the token, unless [WithAuthorize] is used.
func (e *Explorer) LoginURL(base string) string {
	link := strings.TrimSuffix(base, "/") + "/"
	if e.options.authorize == nil {
		link += "?token=" + e.access.queryToken()
	}
	return link
}

// Close ends the event streams of all pages and the polls of the fleet, and waits for them. Call it
// before http.Server.Shutdown, which would otherwise wait for open pages. It returns nil.
func (e *Explorer) Close() error {
	e.cancel()
	e.tasks.close()
	return nil
}

// startQuestion counts an HTTP request that waits for answers of servers. It returns an error if
// too many requests are waiting. The context ends after questionTimeout, or when the client is
// gone. The caller must call end.
func (e *Explorer) startQuestion(r *http.Request) (ctx context.Context, end func(), err error) {
	release, err := e.questions.acquire("questions to servers")
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), questionTimeout)
	return ctx, func() { cancel(); release() }, nil
}
