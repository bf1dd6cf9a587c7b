package wire

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// gzipMagic starts every gzip stream. No protobuf message starts with it: as a tag its first byte
// has the wire type 7, which does not exist.
const gzipMagic = "\x1f\x8b"

// gzipTrailer is the length of the end of a gzip stream: a checksum, and the length of the data
// before compression, four bytes each.
const gzipTrailer = 8

var (
	errTruncatedGzip  = errors.New("compressed value is truncated")
	errDecompressSize = errors.New("decompressed value is larger than the limit or than its declared size")
)

// Decompress returns value, decompressed if it is a gzip stream. It returns an error if the stream
// is damaged, or if the result is larger than limit bytes or than the stream declares. Neither kind
// of oversized stream costs memory: one that declares more than limit is not expanded, and one that
// declares less than it contains is expanded up to the declared size.
func Decompress(value []byte, limit int) ([]byte, error) {
	if len(value) < len(gzipMagic) || string(value[:len(gzipMagic)]) != gzipMagic {
		return value, nil
	}
	return gunzip(value, limit)
}

// gunzip decompresses a gzip stream.
func gunzip(value []byte, limit int) ([]byte, error) {
	if len(value) < gzipTrailer {
		return nil, errTruncatedGzip
	}
	size := int64(binary.LittleEndian.Uint32(value[len(value)-4:]))
	if size > int64(limit) {
		return nil, errDecompressSize
	}
	stream, err := gzip.NewReader(bytes.NewReader(value))
	if err != nil {
		return nil, err
	}
	stream.Multistream(false) // psrpc writes a single stream, and the trailer has the size of the last one
	message, err := io.ReadAll(io.LimitReader(stream, size+1))
	if err != nil {
		return nil, err
	}
	if int64(len(message)) != size {
		return nil, errDecompressSize
	}
	return message, nil
}
