package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/dynamic"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// client is the HTTP client of a call. Each protocol has a type that implements it.
type client interface {
	// receive returns the next message of the client, or io.EOF.
	receive() ([]byte, error)
	// opened is called when a stream or subscription is open, before its first message.
	opened() error
	// send sends a message to the client. It blocks until the client's connection has taken it. In
	// a multi call, serverID is the ID of the server that has sent the message. In other calls, it
	// is empty, because all messages come from one server.
	send(message []byte, serverID string) error
	// describe sets the headers of the response from the facts of the call, unless they have been
	// sent. It is called before a message or an error is sent.
	describe(facts *errors.CallFacts)
	// failed is called in a multi call with the error of one server; the other servers may still
	// answer. If failed returns an error, the call ends with that error.
	failed(serverID string, err error) error
}

// call is a call on the bus that an HTTP client has asked for.
type call struct {
	gateway *Gateway
	in      *incoming
	client  client
	// json reports whether the messages are JSON. Otherwise, they are protobuf.
	json bool
}

// run makes the call. It returns the error of the call and also stores it in c.in.
func (c *call) run(ctx context.Context) error {
	err := c.runKind(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errShutdown) {
		err = errShutdown // err says only that the context was canceled
	}
	c.in.ended, c.in.err = true, err
	return err
}

func (c *call) runKind(ctx context.Context) error {
	switch c.in.method.Kind() {
	case registry.KindSingle:
		return c.runSingle(ctx)
	case registry.KindMulti:
		return c.runMulti(ctx)
	case registry.KindStream:
		return c.runStream(ctx)
	case registry.KindSubscription:
		return c.runSubscription(ctx)
	}
	return errors.NewErrorf(errors.Unimplemented, "method %s is a %s, which the gateway does not know",
		c.in.method.FullName(), c.in.method.Kind())
}

// receiveOnly returns the only message of the client. If the client sends none, the result is the
// empty message.
func (c *call) receiveOnly() ([]byte, error) {
	message, err := c.client.receive()
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	return message, err
}

func (c *call) runSingle(ctx context.Context) error {
	request, err := c.receiveOnly()
	if err != nil {
		return err
	}
	options := append(c.in.options, dynamic.WithFacts(&c.in.facts)) //nolint:gocritic // c.in.options is used once
	var response []byte
	if c.json {
		response, err = c.invokeJSON(ctx, request, options)
	} else {
		response, err = dynamic.InvokeRaw(ctx, c.gateway.conn, c.in.method.FullName(), request, options...)
	}
	c.client.describe(&c.in.facts)
	if err != nil {
		return err
	}
	return c.send(response, "")
}

func (c *call) invokeJSON(ctx context.Context, request []byte, options []dynamic.RequestOption) ([]byte, error) {
	message, err := dynamic.Invoke(ctx, c.gateway.conn, c.in.method.FullName(), jsonValue(request), options...)
	if err != nil {
		return nil, err
	}
	return c.encode(message)
}

// jsonValue converts a JSON message, which may be empty, to a value that the Invoke functions
// accept.
func jsonValue(message []byte) any {
	if len(message) == 0 {
		return nil
	}
	return json.RawMessage(message)
}

func (c *call) runMulti(ctx context.Context) error {
	request, err := c.receiveOnly()
	if err != nil {
		return err
	}
	value, err := c.decode(request, c.in.method.Input().FullName())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	responses, err := dynamic.InvokeMulti(ctx, c.gateway.conn, c.in.method.FullName(), value, c.in.options...)
	if err != nil {
		return err
	}
	for response := range responses {
		switch {
		case response.Err != nil && response.ServerID == "":
			return response.Err
		case response.Err != nil:
			err = c.client.failed(response.ServerID, response.Err)
		default:
			c.client.describe(&errors.CallFacts{ServerID: response.ServerID})
			err = c.sendMessage(response.Result, response.ServerID)
		}
		if err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

func (c *call) runSubscription(ctx context.Context) error {
	if _, err := c.receiveOnly(); err != nil {
		return err
	}
	options := append(c.in.options, //nolint:gocritic // c.in.options is used once
		dynamic.WithBufferBytes(c.gateway.options.maxBacklogBytes), dynamic.WithOverflow(dynamic.EndSubscription))
	subscription, err := dynamic.InvokeSubscribe(ctx, c.gateway.conn, c.in.method.FullName(), options...)
	if err != nil {
		return err
	}
	defer subscription.Close() //nolint:errcheck // the client has gone or has an error
	if err := c.client.opened(); err != nil {
		return err
	}
	for update := range subscription.Channel() {
		if err := c.sendMessage(update, ""); err != nil {
			return err
		}
	}
	return subscription.Err()
}

// runStream passes messages on in both directions, until the server closes the stream or the client
// goes away. After the client's last message, it closes the stream once the server has been silent
// for some time; see [WithLinger]. On the bus, a client cannot tell a server that it has sent its
// last message.
func (c *call) runStream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := dynamic.InvokeStream(ctx, c.gateway.conn, c.in.method.FullName(), c.in.options...)
	if err != nil {
		return err
	}
	if err := c.client.opened(); err != nil {
		return err
	}
	// runStream does not wait for this goroutine. The goroutine may be waiting in c.client.receive,
	// which may return only when the HTTP request ends, after runStream has returned.
	forwarded := make(chan struct{})
	go func() {
		defer close(forwarded)
		if err := c.forward(stream); err != nil {
			_ = stream.Close(err)
		}
	}()
	var silence <-chan time.Time
	for {
		select {
		case message, open := <-stream.Channel():
			if !open {
				return streamFailure(stream.Err())
			}
			if err := c.sendMessage(message, ""); err != nil {
				_ = stream.Close(errClientGone)
				return err
			}
			if silence != nil {
				silence = time.After(c.gateway.options.linger)
			}
		case <-forwarded:
			forwarded = nil
			if c.gateway.options.linger > 0 {
				silence = time.After(c.gateway.options.linger)
			}
		case <-silence:
			return streamFailure(stream.Close(nil))
		}
	}
}

// streamFailure returns the error that has ended a stream, or nil if the stream was closed
// normally.
func streamFailure(err error) error {
	if errors.Is(err, errors.ErrStreamClosed) || errors.Is(err, errors.ErrStreamEOF) {
		return nil
	}
	return err
}

// forward sends the messages of the client on the stream, until the client has sent its last one.
func (c *call) forward(stream *dynamic.InvokedStream) error {
	for {
		message, err := c.client.receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		value, err := c.decode(message, c.in.method.Input().FullName())
		if err != nil {
			return err
		}
		if err := stream.Send(value); err != nil {
			return err
		}
	}
}

// decode converts an encoded message of the client to a value that dynamic.InvokeMulti and
// InvokedStream.Send accept.
func (c *call) decode(message []byte, name protoreflect.FullName) (any, error) {
	if c.json {
		return jsonValue(message), nil
	}
	messageType, err := c.in.method.Service().FindMessageByName(name)
	if err != nil {
		return nil, errors.NewError(errors.Internal, err)
	}
	decoded := messageType.New().Interface()
	options := proto.UnmarshalOptions{Resolver: c.in.method.Service()}
	if err := options.Unmarshal(message, decoded); err != nil {
		return nil, errors.NewErrorf(errors.InvalidArgument, "message %s cannot be decoded: %w", name, err)
	}
	return decoded, nil
}

func (c *call) sendMessage(message proto.Message, serverID string) error {
	encoded, err := c.encode(message)
	if err != nil {
		return err
	}
	return c.send(encoded, serverID)
}

// encode encodes a message for the client.
func (c *call) encode(message proto.Message) ([]byte, error) {
	var encoded []byte
	var err error
	if c.json {
		encoded, err = c.encodeJSON(message)
	} else {
		encoded, err = proto.Marshal(message)
	}
	if err != nil {
		return nil, errors.NewErrorf(errors.Internal, "response of %s cannot be encoded: %w", c.in.method.FullName(), err)
	}
	return encoded, nil
}

// encodeJSON encodes a message as JSON. It removes the spaces that protojson inserts at random, so
// that equal messages have equal JSON.
func (c *call) encodeJSON(message proto.Message) ([]byte, error) {
	spaced, err := protojson.MarshalOptions{Resolver: c.in.method.Service()}.Marshal(message)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer
	compact.Grow(len(spaced))
	err = json.Compact(&compact, spaced)
	return compact.Bytes(), err
}

func (c *call) send(message []byte, serverID string) error {
	if limit := c.gateway.options.maxResponseBytes; limit > 0 && len(message) > limit {
		return errors.NewErrorf(errors.ResourceExhausted,
			"response of %s has %d bytes, the limit of the gateway is %d", c.in.method.FullName(), len(message), limit)
	}
	return c.client.send(message, serverID)
}

var errClientGone = errors.NewErrorf(errors.Canceled, "the HTTP client has gone")
