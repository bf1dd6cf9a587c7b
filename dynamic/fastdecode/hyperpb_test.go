//go:build amd64 || arm64

package fastdecode

import (
	"runtime"
	"sync"
	"testing"

	"buf.build/go/hyperpb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const supported = true

func TestDecoder_LargeMessageIsDecodedByHyperpb(t *testing.T) {
	t.Parallel()
	s := newSubject(t, "File")
	assert.True(t, s.requireSame(t, described(t)))
	message, err := s.decode(described(t))
	require.NoError(t, err)
	assert.IsType(t, &hyperpb.Message{}, message)
}

// TestDecoder_ValuesAreKept checks that values of a message stay valid when the garbage collector
// has run and nothing else refers to the message.
func TestDecoder_ValuesAreKept(t *testing.T) {
	t.Parallel()
	s := newSubject(t, "File")
	field := s.descriptor.Fields().ByName("message_type")
	name := field.Message().Fields().ByName("name")
	const rounds = 15
	var lists []protoreflect.List
	var names []string
	for range rounds {
		encoded := described(t)
		message, err := s.decode(encoded)
		require.NoError(t, err)
		lists = append(lists, message.ProtoReflect().Get(field).List())
		names = append(names, lists[len(lists)-1].Get(1).Message().Get(name).String())
		clear(encoded)
		runtime.GC()
	}
	for i, list := range lists {
		assert.Equal(t, "FileDescriptorProto", list.Get(1).Message().Get(name).String())
		assert.Equal(t, "FileDescriptorProto", names[i])
	}
}

func TestDecoder_ReadByMany(t *testing.T) {
	t.Parallel()
	s := newSubject(t, "File")
	message, err := s.decode(described(t))
	require.NoError(t, err)
	want, err := s.plain(described(t))
	require.NoError(t, err)
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() { assert.Equal(t, marshal(t, want), marshal(t, message)) })
	}
	readers.Wait()
}
