package gateway

import (
	"bytes"
	"context"
	"io"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
)

// payload is an encoded message. The codecs of this package neither decode nor encode it, so that
// the gateway can pass protobuf messages on as they are.
type payload struct{ data []byte }

// codec passes payloads on and leaves all other messages, such as those of gRPC's reflection, to
// the codec of Connect for the same encoding.
type codec struct{ connect.StableCodec }

func codecs() []connect.Codec {
	return []connect.Codec{codec{connectproto.NewBinaryCodec()}, codec{connectproto.NewJSONCodec()}}
}

func (c codec) MarshalWrite(ctx context.Context, dst io.Writer, message any) error {
	if p, ok := message.(*payload); ok {
		_, err := dst.Write(p.data)
		return err
	}
	return c.StableCodec.MarshalWrite(ctx, dst, message)
}

func (c codec) MarshalWriteStable(ctx context.Context, dst io.Writer, message any) error {
	if _, ok := message.(*payload); ok {
		return c.MarshalWrite(ctx, dst, message)
	}
	return c.StableCodec.MarshalWriteStable(ctx, dst, message)
}

func (c codec) UnmarshalRead(ctx context.Context, src io.Reader, message any) error {
	p, ok := message.(*payload)
	if !ok {
		return c.StableCodec.UnmarshalRead(ctx, src, message)
	}
	var buffer bytes.Buffer
	if sized, ok := src.(interface{ Len() int }); ok {
		buffer.Grow(sized.Len() + bytes.MinRead)
	}
	_, err := buffer.ReadFrom(src)
	p.data = buffer.Bytes()
	return err
}
