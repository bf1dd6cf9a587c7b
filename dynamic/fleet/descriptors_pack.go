package fleet

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

const (
	// gzipAbove is the size in bytes above which servers compress descriptors.
	gzipAbove = 16 << 10
	// maxDescriptors is the maximum size in bytes of descriptors after decompression. Once decoded,
	// the descriptors of a faulty peer may take a hundred times this size in memory.
	maxDescriptors = 16 << 20
)

// packFiles returns the response with the files of a service.
func packFiles(service protoreflect.ServiceDescriptor, comments bool) (*describeResponse, error) {
	encoded, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: filesOf(service.ParentFile(), comments)})
	if err != nil {
		return nil, errors.NewErrorf(errors.Internal, "descriptors of %s: %w", service.FullName(), err)
	}
	if len(encoded) <= gzipAbove {
		return &describeResponse{Files: encoded}, nil
	}
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	if _, err = w.Write(encoded); err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, errors.NewErrorf(errors.Internal, "descriptors of %s: %w", service.FullName(), err)
	}
	return &describeResponse{Files: compressed.Bytes(), GZIP: true}, nil
}

// unpackFiles returns the files in a response. It returns an error if they cannot be decoded, or if
// they are larger than maxDescriptors.
func unpackFiles(response *describeResponse) (*descriptorpb.FileDescriptorSet, error) {
	encoded := response.Files
	if response.GZIP {
		r, err := gzip.NewReader(bytes.NewReader(encoded))
		if err != nil {
			return nil, fmt.Errorf("descriptors cannot be decompressed: %w", err)
		}
		if encoded, err = io.ReadAll(io.LimitReader(r, maxDescriptors+1)); err != nil {
			return nil, fmt.Errorf("descriptors cannot be decompressed: %w", err)
		}
	}
	if len(encoded) > maxDescriptors {
		return nil, fmt.Errorf("descriptors are larger than %d MiB", maxDescriptors>>20)
	}
	files := new(descriptorpb.FileDescriptorSet)
	if err := proto.Unmarshal(encoded, files); err != nil {
		return nil, fmt.Errorf("descriptors cannot be decoded: %w", err)
	}
	return files, nil
}
