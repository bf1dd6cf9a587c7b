package fleet

import (
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Converting any message of a peer to a struct must not panic. Converting that struct to a message
// and back must not change it.
func FuzzMessages(f *testing.F) {
	for _, goType := range goTypes {
		full, count := reflect.New(goType).Elem(), 0
		fill(full, &count)
		encoded, err := proto.Marshal(newMessage(full))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		for name, goType := range goTypes {
			message := dynamicpb.NewMessage(descriptorOf(name))
			if !canDecode(encoded, message) {
				continue
			}
			value := reflect.New(goType).Elem()
			readMessage(message, value)
			again, err := proto.Marshal(newMessage(value))
			if err != nil {
				t.Fatalf("%s cannot be sent on: %v", name, err)
			}
			if err := proto.Unmarshal(again, dynamicpb.NewMessage(descriptorOf(name))); err != nil {
				t.Fatalf("%s was sent on with mistakes: %v", name, err)
			}
		}
	})
}

// canDecode decodes a message as package dynamic does, and reports whether that is possible. It
// recovers from panics, because protobuf-go v1.36 panics on some map entries of dynamic messages.
func canDecode(encoded []byte, message proto.Message) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return proto.Unmarshal(encoded, message) == nil
}

// Checking and loading any descriptors that a peer sends must not panic.
func FuzzDescriptors(f *testing.F) {
	packed, err := packFiles(fleetService().Descriptor(), false)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed.Files, packed.GZIP)
	f.Add([]byte{0x0a, 0x02, 0x12, 0x00}, false)
	f.Add([]byte("not gzip"), true)
	f.Fuzz(func(t *testing.T, files []byte, gzip bool) {
		set, err := unpackFiles(&describeResponse{Files: files, GZIP: gzip})
		if err != nil {
			return
		}
		first, err := digestOfFiles(set.GetFile())
		if err != nil {
			return
		}
		if second, err := digestOfFiles(set.GetFile()); err != nil || first != second {
			t.Fatal("the digest is not the same")
		}
		_ = registry.New(quiet()).RegisterDescriptorSet(set)
	})
}
