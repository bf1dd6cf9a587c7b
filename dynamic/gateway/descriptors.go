package gateway

import (
	"log/slog"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// descriptors contains the .proto files of the services for gRPC tools. psrpc marks multi calls,
// streams and subscriptions by options of its own. gRPC tools do not know these options, so
// descriptors adds the keyword stream to such methods.
//
// The files of two services may conflict, for example if they import two versions of a shared file.
// descriptors then contains several sets. The first one contains all services that do not conflict
// with each other.
type descriptors struct {
	// kinds contains the kinds of all methods, keyed by full name.
	kinds map[string]registry.Kind
	// services contains the names of the services whose files are in one of the sets.
	services []string
	sets     []*fileSet
}

// fileSet is a set of files without conflicts.
type fileSet struct {
	files *protoregistry.Files
	// encoded contains the files. Each file comes after those that it imports.
	encoded *descriptorpb.FileDescriptorSet
	byPath  map[string]*descriptorpb.FileDescriptorProto
	// paths contains the path in this set of each file that has been added. It differs from the
	// file's own path if another file already has that path.
	paths map[protoreflect.FileDescriptor]string
}

func newFileSet() *fileSet {
	return &fileSet{
		files: new(protoregistry.Files), encoded: &descriptorpb.FileDescriptorSet{},
		byPath: map[string]*descriptorpb.FileDescriptorProto{}, paths: map[protoreflect.FileDescriptor]string{},
	}
}

// newDescriptors returns the descriptors of the services and of gRPC's health checks.
func (g *Gateway) newDescriptors(services []*registry.Service) *descriptors {
	d := &descriptors{kinds: map[string]registry.Kind{}, sets: []*fileSet{newFileSet()}}
	declared := make([]protoreflect.ServiceDescriptor, 0, len(services)+1)
	for _, service := range services {
		declared = append(declared, service.Descriptor())
		for _, method := range service.Methods() {
			d.kinds[method.FullName()] = method.Kind()
		}
	}
	for _, service := range append(declared, healthFile.Services().Get(0)) {
		if err := d.add(service); err != nil {
			g.options.logger.Warn("gateway: reflection does not show a service",
				slog.String("service", string(service.FullName())), slog.Any("error", err))
		}
	}
	if len(d.sets) > 1 {
		g.options.logger.Warn("gateway: the descriptor set lacks services, because their files do not fit together with those of others")
	}
	return d
}

// add adds the file that declares the service, and all files that this file imports.
func (d *descriptors) add(service protoreflect.ServiceDescriptor) error {
	if _, err := d.addFile(d.sets[0], service.ParentFile(), service.FullName()); err != nil {
		separate := newFileSet()
		if _, err := d.addFile(separate, service.ParentFile(), service.FullName()); err != nil {
			return err
		}
		d.sets = append(d.sets, separate)
	}
	d.services = append(d.services, string(service.FullName()))
	return nil
}

// addFile adds a file of a service to a set, and returns its path in the set.
func (d *descriptors) addFile(set *fileSet, file protoreflect.FileDescriptor, service protoreflect.FullName) (string, error) {
	if path, known := set.paths[file]; known || file.IsPlaceholder() {
		return path, nil
	}
	rewritten := d.rewrite(file)
	for i := range file.Imports().Len() {
		path, err := d.addFile(set, file.Imports().Get(i).FileDescriptor, service)
		if err != nil {
			return "", err
		}
		if path != "" {
			rewritten.Dependency[i] = path
		}
	}
	path := file.Path()
	if other := set.byPath[path]; other != nil && !proto.Equal(other, rewritten) {
		path = string(service) + "/" + path
		rewritten.Name = &path
	}
	if set.byPath[path] == nil {
		options := protodesc.FileOptions{AllowUnresolvable: true} // an import may be missing
		built, err := options.New(rewritten, set.files)
		if err != nil {
			return "", err
		}
		if err := set.files.RegisterFile(built); err != nil {
			return "", err
		}
		set.byPath[path] = rewritten
		set.encoded.File = append(set.encoded.File, rewritten)
	}
	set.paths[file] = path
	return path, nil
}

// rewrite returns the file with the keyword stream on each method that is not a single call.
func (d *descriptors) rewrite(file protoreflect.FileDescriptor) *descriptorpb.FileDescriptorProto {
	rewritten := protodesc.ToFileDescriptorProto(file)
	for i, service := range rewritten.GetService() {
		name := string(file.Services().Get(i).FullName())
		for _, method := range service.GetMethod() {
			kind, known := d.kinds[name+"/"+method.GetName()]
			if !known {
				continue
			}
			streams := streamTypeOf(kind)
			if streams&connect.StreamTypeServer != 0 {
				method.ServerStreaming = new(true)
			}
			if streams&connect.StreamTypeClient != 0 {
				method.ClientStreaming = new(true)
			}
		}
	}
	return rewritten
}
