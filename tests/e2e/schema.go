package e2e

import (
	_ "embed" // embeds matrix.proto
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing/fstest"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

//go:embed matrix.proto
var matrixSource []byte

// These are the names of the services in matrix.proto.
const (
	calls   = "Calls"
	crowd   = "Crowd"
	streams = "Streams"
	feeds   = "Feeds"
)

// These are the kinds of methods. The name of each method begins with its kind.
const (
	kindQueue        = "Queue"
	kindSingleServer = "SingleServer"
	kindAffinity     = "Affinity"
	kindMulti        = "Multi"
)

var (
	// singleKinds contains the kinds of methods for which one server responds to each request.
	singleKinds = []string{kindQueue, kindSingleServer, kindAffinity}
	callKinds   = []string{kindQueue, kindSingleServer, kindAffinity, kindMulti}
	streamKinds = []string{kindQueue, kindSingleServer, kindAffinity, kindMulti}
	feedKinds   = []string{kindQueue, kindMulti}
)

// addressing is a suffix of method names, together with the topic of the methods that have this
// suffix. The topic is nil if these methods have no topics.
type addressing struct {
	suffix string
	topic  []string
}

var addressings = []addressing{
	{"", nil},
	{"Topic", []string{"eu-west.1"}},
	{"Topics", []string{"eu|west", "room 7 ü"}},
}

// schema returns a registry with the services of matrix.proto and of the .proto file that declares
// their message types. The files are parsed only once for all tests. The tests thus use descriptors
// that were created at run time, independently of those in the generated code.
var schema = sync.OnceValues(func() (*registry.Registry, error) {
	messages, err := messageSource()
	if err != nil {
		return nil, err
	}
	files := fstest.MapFS{
		"matrix.proto":     {Data: matrixSource},
		"my_service.proto": {Data: messages},
	}
	parsed := registry.New()
	return parsed, parsed.ParseProto(files, "matrix.proto", "my_service.proto")
})

// messageSource returns the content of the .proto file of package api. The working directory may be
// any directory within this module.
func messageSource() ([]byte, error) {
	folder, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return fs.ReadFile(os.DirFS(folder), "example/compiled/api/my_service.proto")
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return nil, fmt.Errorf("no go.mod above the working directory: the suite needs the module's sources")
		}
		folder = parent
	}
}

// parsedMessage returns the parsed descriptor of the message with the given full name.
func parsedMessage(name protoreflect.FullName) (protoreflect.MessageDescriptor, error) {
	parsed, err := schema()
	if err != nil {
		return nil, err
	}
	service, ok := parsed.Service("example.compiled.v1.MyService")
	if !ok {
		return nil, fmt.Errorf("the source of package api has no MyService")
	}
	message := service.Descriptor().ParentFile().Messages().ByName(name.Name())
	if message == nil {
		return nil, fmt.Errorf("the source of package api has no message %s", name)
	}
	return message, nil
}
