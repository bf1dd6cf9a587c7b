package greetings

import (
	"embed"
	"fmt"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// FileName is the name of the .proto file.
const FileName = "greetings.proto"

//go:embed greetings.proto
var files embed.FS

// Source returns the .proto source.
func Source() []byte {
	source, _ := files.ReadFile(FileName)
	return source
}

// Service returns the service with the given name, which must not include the package.
func Service(name string) (*registry.Service, error) {
	reg := registry.New()
	if err := reg.ParseProto(files, FileName); err != nil {
		return nil, err
	}
	service, ok := reg.Service("example.plugins." + name)
	if !ok {
		return nil, fmt.Errorf("there is no service %s", name)
	}
	return service, nil
}
