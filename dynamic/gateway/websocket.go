package gateway

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Subprotocol is the WebSocket subprotocol of the gateway. Both sides send text frames that contain
// one JSON object. {"message": ...} is a message. {"end": true} says that the sender has sent its
// last message. The gateway also sends {"error": {"code": ..., "message": ..., "server": ...}}. The
// messages of a multi call have the ID of the server, too: {"message": ..., "server": ...}. After
// the end of the call, the gateway closes the connection. Streams and subscriptions start
// immediately. Single and multi calls start with the first frame of the client.
const Subprotocol = "psrpc.v1"

// webSocketPing is how often the gateway checks that the client is still there.
const webSocketPing = 20 * time.Second

// webSocketFrame is the JSON of a frame.
type webSocketFrame struct {
	Message json.RawMessage `json:"message,omitempty"`
	Server  string          `json:"server,omitempty"`
	Error   *problem        `json:"error,omitempty"`
	End     bool            `json:"end,omitempty"`
}

// serveWebSocket serves a call over a WebSocket.
func (g *Gateway) serveWebSocket(w http.ResponseWriter, in *incoming) {
	socket, err := websocket.Accept(w, in.request, &websocket.AcceptOptions{
		Subprotocols: []string{Subprotocol}, OriginPatterns: g.options.origins,
	})
	if err != nil {
		return // Accept has already written the response
	}
	defer socket.CloseNow() //nolint:errcheck // closed below unless the client has gone
	if socket.Subprotocol() != Subprotocol {
		_ = socket.Close(websocket.StatusPolicyViolation, "the subprotocol must be "+Subprotocol)
		return
	}
	socket.SetReadLimit(g.options.maxFrameBytes())
	ctx, cancel := context.WithCancelCause(in.request.Context())
	defer cancel(nil)
	client := &webSocketClient{gateway: g, socket: socket, ctx: ctx, frames: make(chan []byte)}
	if in.method.Kind() == registry.KindSubscription {
		client.end(io.EOF) // a subscription starts at once, because it has no request
	}
	done := make(chan struct{})
	go func() { defer close(done); client.read(cancel) }()
	go client.ping()
	c := &call{gateway: g, in: in, client: client, json: true}
	if err := c.run(ctx); err != nil {
		p := g.problem(err, "")
		_ = client.write(webSocketFrame{Error: &p})
	}
	_ = client.write(webSocketFrame{End: true})
	_ = socket.Close(websocket.StatusNormalClosure, "")
	cancel(nil)
	<-done
}

// webSocketClient is a client that uses a WebSocket.
type webSocketClient struct {
	gateway *Gateway
	socket  *websocket.Conn
	// ctx ends with the call.
	ctx context.Context //nolint:containedctx // the client is one call
	// frames contains the messages of the client. It is closed after the last message, and err then
	// contains the reason.
	frames chan []byte
	err    error
	// ended reports whether frames is closed. Only the goroutine that runs read uses it.
	ended bool
}

// maxFrameBytes returns the maximum size of a frame: that of a message with the JSON around it.
func (o *options) maxFrameBytes() int64 {
	if o.maxRequestBytes <= 0 {
		return -1 // no limit
	}
	return int64(o.maxRequestBytes) + 1024
}

// end closes the channel of the client's messages. err is the reason, or io.EOF after the last
// message.
func (c *webSocketClient) end(err error) {
	if !c.ended {
		c.ended, c.err = true, err
		close(c.frames)
	}
}

// read passes the client's messages to the call. It returns when the connection has ended, and then
// cancels the call. It reads on after the last message, because the connection answers pings only
// while it is read. It also reads on after c.ctx has ended, because a canceled Read would close the
// connection before the client gets the error of the call.
func (c *webSocketClient) read(cancel context.CancelCauseFunc) {
	for {
		kind, data, err := c.socket.Read(context.WithoutCancel(c.ctx))
		if err != nil {
			c.end(errClientGone)
			cancel(errClientGone)
			return
		}
		if c.ended {
			continue
		}
		var frame webSocketFrame
		switch {
		case kind != websocket.MessageText:
			c.end(errors.NewErrorf(errors.InvalidArgument, "a WebSocket frame is not text"))
		case json.Unmarshal(data, &frame) != nil:
			c.end(errors.NewErrorf(errors.InvalidArgument, `a WebSocket frame is not a JSON object with "message" or "end"`))
		case frame.End:
			c.end(io.EOF)
		default:
			select {
			case c.frames <- frame.Message:
			case <-c.ctx.Done():
			}
		}
	}
}

// ping closes the connection if the client does not answer a ping. The goroutine that runs read
// then ends, too.
func (c *webSocketClient) ping() {
	ticker := time.NewTicker(webSocketPing)
	defer ticker.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-ticker.C:
			ctx, stop := context.WithTimeout(c.ctx, webSocketPing)
			err := c.socket.Ping(ctx)
			stop()
			if c.ctx.Err() != nil {
				return // the call has ended
			}
			if err != nil {
				_ = c.socket.CloseNow()
				return
			}
		}
	}
}

func (c *webSocketClient) receive() ([]byte, error) {
	select {
	case message, ok := <-c.frames:
		if !ok {
			return nil, c.err
		}
		return message, nil
	case <-c.ctx.Done():
		return nil, context.Cause(c.ctx)
	}
}

func (c *webSocketClient) opened() error { return nil }

func (c *webSocketClient) send(message []byte, serverID string) error {
	return c.write(webSocketFrame{Message: message, Server: serverID})
}

// describe does nothing, because the header of the response has been sent.
func (c *webSocketClient) describe(*errors.CallFacts) {}

func (c *webSocketClient) failed(serverID string, err error) error {
	p := c.gateway.problem(err, serverID)
	return c.write(webSocketFrame{Error: &p})
}

// write sends a frame. If the client does not accept it in time, write closes the connection.
func (c *webSocketClient) write(frame webSocketFrame) error {
	encoded, err := json.Marshal(frame)
	if err != nil {
		return errors.NewError(errors.Internal, err)
	}
	ctx := context.WithoutCancel(c.ctx)
	if timeout := c.gateway.options.writeTimeout; timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	if err := c.socket.Write(ctx, websocket.MessageText, encoded); err != nil {
		return errClientGone
	}
	return nil
}

var _ client = (*webSocketClient)(nil)
