package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// servePlain serves a call whose response is nothing but the JSON of a message, or the content of a
// google.api.HttpBody. Errors have psrpc's HTTP status; see [WithPsrpcStatus].
func (g *Gateway) servePlain(w *responseWriter, in *incoming) {
	if in.method.Kind() != registry.KindSingle && in.bound == nil {
		in.err = errors.NewErrorf(errors.NotAcceptable, "%s", streamHint(in.method))
		g.writeProblem(w, in.err)
		return
	}
	client := &plainClient{gateway: g, writer: w, in: in}
	c := &call{gateway: g, in: in, client: client, json: true}
	switch err := c.run(in.request.Context()); {
	case err != nil && !client.sent:
		g.writeProblem(w, err)
	case err != nil && in.bound != nil && in.bound.IsHTTPBody:
		// Part of the response has been sent, so only a broken connection can tell the client that
		// it is incomplete.
		panic(http.ErrAbortHandler)
	}
}

// plainClient is the client of a call that servePlain serves.
type plainClient struct {
	gateway        *Gateway
	writer         *responseWriter
	in             *incoming
	received, sent bool
}

func (c *plainClient) receive() ([]byte, error) {
	if c.received {
		return nil, io.EOF
	}
	c.received = true
	if c.in.bound != nil {
		return c.gateway.options.boundMessage(c.in)
	}
	return io.ReadAll(c.gateway.options.limitedBody(c.in.request))
}

func (c *plainClient) send(message []byte, _ string) error {
	message, err := c.in.bound.response(message)
	if err != nil {
		return err
	}
	if c.in.bound != nil && c.in.bound.IsHTTPBody {
		return c.sendContent(message)
	}
	c.start(typeJSON)
	// The line break is not appended to message, because other calls may use the same memory.
	if _, err := c.writer.Write(message); err != nil {
		return err
	}
	_, err = io.WriteString(c.writer, "\n")
	return err
}

// sendContent sends the content of a google.api.HttpBody. message is its JSON.
func (c *plainClient) sendContent(message []byte) error {
	var body struct {
		ContentType string `json:"contentType"`
		Data        []byte `json:"data"`
	}
	if err := json.Unmarshal(message, &body); err != nil {
		return errors.NewErrorf(errors.MalformedResponse, "the response is not a google.api.HttpBody: %w", err)
	}
	// If the content is a web page, its scripts must not call the gateway as the user who views it.
	c.writer.Header().Set("Content-Security-Policy", "sandbox")
	c.start(body.ContentType)
	if _, err := c.writer.Write(body.Data); err != nil {
		return err
	}
	return c.writer.FlushError()
}

// start sets the headers of the response before its first byte.
func (c *plainClient) start(contentType string) {
	if !c.sent {
		c.sent = true
		c.writer.Header().Set("Content-Type", contentType)
		c.writer.Header().Set("Cache-Control", "no-store")
	}
}

func (c *plainClient) describe(facts *errors.CallFacts) {
	if !c.sent {
		setFacts(c.writer.Header(), facts)
	}
}

func (*plainClient) opened() error { return nil }

// failed ends the call with the error of the server, because a plain response has no place for the
// error of one server.
func (*plainClient) failed(_ string, err error) error { return err }

var _ client = (*plainClient)(nil)

func streamHint(method *registry.Method) string {
	return fmt.Sprintf("method %s has the kind %s: accept text/event-stream or application/x-ndjson", method.FullName(), method.Kind())
}
