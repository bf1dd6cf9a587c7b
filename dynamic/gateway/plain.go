package gateway

import (
	"io"
	"net/http"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// servePlain serves a single call whose request and response are the JSON of the messages, and
// whose errors have psrpc's HTTP status; see [WithPsrpcStatus].
func (g *Gateway) servePlain(w http.ResponseWriter, in *incoming) {
	if in.method.Kind() != registry.KindSingle {
		g.writeProblem(w, errors.NewErrorf(errors.NotAcceptable,
			"method %s is a %s: accept text/event-stream or application/x-ndjson", in.method.FullName(), in.method.Kind()))
		return
	}
	client := &plainClient{writer: w, body: g.options.limitedBody(in.request)}
	c := &call{gateway: g, method: in.method, client: client, json: true, options: in.options}
	if err := c.run(in.request.Context()); err != nil && !client.sent {
		g.writeProblem(w, err)
	}
}

// plainClient is the client of a call that servePlain serves.
type plainClient struct {
	writer http.ResponseWriter
	body   io.Reader
	sent   bool
}

func (c *plainClient) receive() ([]byte, error) { return io.ReadAll(c.body) }

func (c *plainClient) send(message []byte) error {
	c.sent = true
	c.writer.Header().Set("Content-Type", typeJSON)
	_, err := c.writer.Write(append(message, '\n'))
	return err
}

func (c *plainClient) answeredBy(serverID string) { c.writer.Header().Set(ServerHeader, serverID) }

func (*plainClient) opened() error { return nil }

func (*plainClient) failed(string, error) error { return nil }

var _ client = (*plainClient)(nil)
