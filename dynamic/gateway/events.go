package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// pingInterval is how often the gateway writes a comment to server-sent events, so that proxies do
// not end a silent connection.
const pingInterval = 15 * time.Second

// serveEvents serves a call whose client reads server-sent events or newline-delimited JSON.
func (g *Gateway) serveEvents(w *responseWriter, in *incoming) {
	switch allowsGet := hasNoSideEffects(in.method); {
	case in.bound != nil: // the schema says which HTTP methods are allowed
	case in.request.Method == http.MethodPost, in.request.Method == http.MethodGet && allowsGet:
	case allowsGet:
		w.Header().Set("Allow", "GET, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	default:
		w.Header().Set("Allow", "POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body, err := g.readBody(in)
	if err != nil {
		in.err = err
		g.writeProblem(w, err)
		return
	}
	client := &eventClient{
		gateway: g, writer: w, sse: in.protocol == protocolSSE, bound: in.bound,
		messages: json.NewDecoder(bytes.NewReader(body)),
	}
	c := &call{gateway: g, in: in, client: client, json: true}
	client.finish(client.run(in.request.Context(), c))
}

// run makes the call and sends pings while it runs.
func (c *eventClient) run(ctx context.Context, call *call) error {
	defer c.startPings()()
	return call.run(ctx)
}

// hasNoSideEffects reports whether a method may be called with GET. An EventSource repeats its
// request whenever the connection has ended, and so would repeat the call.
func hasNoSideEffects(method *registry.Method) bool {
	return method.Kind() == registry.KindSubscription || idempotencyOf(method) == connect.IdempotencyNoSideEffects
}

// readBody returns the messages of the client: the body of the request or the query parameter
// "message". It reads the whole body, because over HTTP/1 a response begins after its request.
func (g *Gateway) readBody(in *incoming) ([]byte, error) {
	r := in.request
	if in.bound != nil {
		return g.options.boundMessage(in)
	}
	if r.Method == http.MethodGet {
		return []byte(r.URL.Query().Get("message")), nil
	}
	return io.ReadAll(g.options.limitedBody(r))
}

// eventClient is a client that reads server-sent events or newline-delimited JSON.
type eventClient struct {
	gateway *Gateway
	writer  *responseWriter
	sse     bool
	bound   *BoundRequest
	// messages decodes the messages of the client, which are JSON values.
	messages *json.Decoder

	// mu is held while an event is written. Pings are written by another goroutine.
	mu      sync.Mutex
	started bool
	events  int
	err     error
}

func (c *eventClient) receive() ([]byte, error) {
	var message json.RawMessage
	err := c.messages.Decode(&message)
	if err != nil && !errors.Is(err, io.EOF) {
		err = errors.NewErrorf(errors.InvalidArgument, "the request is not JSON: %w", err)
	}
	return message, err
}

// opened sends the header of the response, so that the client knows that the stream is open.
func (c *eventClient) opened() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.startLocked()
	if c.sse {
		return c.flushLocked([]byte(": open\n\n"))
	}
	return c.flushLocked(nil)
}

func (c *eventClient) describe(facts *errors.CallFacts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.started {
		setFacts(c.writer.Header(), facts)
	}
}

func (c *eventClient) send(message []byte, serverID string) error {
	message, err := c.bound.response(message)
	if err != nil {
		return err
	}
	if c.sse {
		return c.write("message", message)
	}
	var server string
	if serverID != "" {
		quoted, err := json.Marshal(serverID)
		if err != nil {
			return errors.NewError(errors.Internal, err)
		}
		server = `,"server":` + string(quoted)
	}
	return c.write("message", []byte(`{"message":`+string(message)+server+`}`))
}

func (c *eventClient) failed(serverID string, err error) error {
	return c.writeError(err, serverID)
}

func (c *eventClient) writeError(err error, serverID string) error {
	encoded := c.gateway.problemJSON(err, serverID)
	if !c.sse {
		encoded = []byte(`{"error":` + string(encoded) + `}`)
	}
	return c.write("error", encoded)
}

// write writes one event. data is JSON without line breaks.
func (c *eventClient) write(event string, data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.startLocked()
	var out bytes.Buffer
	if c.sse {
		c.events++
		out.WriteString("event: " + event + "\nid: " + strconv.Itoa(c.events) + "\ndata: ")
		out.Write(data)
		out.WriteString("\n\n")
	} else {
		out.Write(data)
		out.WriteByte('\n')
	}
	return c.flushLocked(out.Bytes())
}

// startLocked writes the header of the response. The caller must hold c.mu.
func (c *eventClient) startLocked() {
	if c.started {
		return
	}
	c.started = true
	header := c.writer.Header()
	header.Set("Content-Type", "application/x-ndjson")
	if c.sse {
		header.Set("Content-Type", "text/event-stream; charset=utf-8")
	}
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // makes nginx pass on each event at once
	c.writer.WriteHeader(http.StatusOK)
}

// flushLocked writes data and sends it. After an error, it writes nothing more. The caller must
// hold c.mu.
func (c *eventClient) flushLocked(data []byte) error {
	if c.err != nil {
		return c.err
	}
	if _, err := c.writer.Write(data); err != nil {
		c.err = errClientGone
	} else if err := c.writer.FlushError(); err != nil {
		c.err = errClientGone
	}
	return c.err
}

// startPings writes a comment to server-sent events every pingInterval until stop is called.
func (c *eventClient) startPings() (stop func()) {
	if !c.sse {
		return func() {}
	}
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(pingInterval)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				c.mu.Lock()
				c.startLocked()
				_ = c.flushLocked([]byte(": ping\n\n"))
				c.mu.Unlock()
			}
		}
	}()
	return func() { close(done); <-stopped }
}

// finish ends the response. If nothing has been written yet, an error becomes the whole response,
// with its HTTP status. finish must be called after the last ping.
func (c *eventClient) finish(err error) {
	switch {
	case err != nil && !c.started:
		c.gateway.writeProblem(c.writer, err)
	case err != nil:
		_ = c.writeError(err, "")
	default:
		c.complete()
	}
}

// complete tells the client that the call has ended without an error.
func (c *eventClient) complete() {
	if c.sse {
		_ = c.write("complete", []byte("{}"))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.startLocked()
}

var _ client = (*eventClient)(nil)
