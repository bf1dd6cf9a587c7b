package source

import (
	"encoding/hex"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// These are maximum file sizes, in bytes.
const (
	maxDescriptor = 16 << 20
	maxCode       = 512 << 20
)

// Selection is the part of a manifest that [Reader] needs: it says which files belong to a plugin.
type Selection struct {
	// Code is the name of the file with the code. SHA256 is its checksum in hex, or empty.
	Code, SHA256 string
	// Descriptors is the name of a .proto source or of a descriptor set, or empty.
	Descriptors string
	// Services contains the full names of the services. If it is empty, all services of the
	// descriptors are selected.
	Services []string
	// WireNames maps full service names to names on the bus.
	WireNames map[string]string
}

// Content is the content of a plugin's folder.
type Content struct {
	// Code is the content of the code file, and Digest its SHA-256 checksum in hex.
	Code   []byte
	Digest string
	// Services contains the selected services, sorted by name.
	Services []*registry.Service
	// GRPCServices contains the names of the gRPC services in the descriptors.
	GRPCServices []string
	// Fingerprint identifies the names and contents of all files that were read.
	Fingerprint string
}

// readServices reads the descriptors. It sets c.Services to the selected services. manifest is the
// name of the manifest.
func (c *Content) readServices(files *files, manifest string, s Selection) error {
	if s.Descriptors == "" {
		return nil
	}
	// Discard the log output of the registry. The host itself reports the gRPC services that the
	// registry leaves out, once for each version of the plugin. The problems that registry.Lint
	// finds are not logged for plugins.
	all := registry.New(registry.WithWireNames(s.WireNames), registry.WithMaxSourceSize(maxDescriptor),
		registry.WithLogger(slog.New(slog.DiscardHandler)))
	err := readDescriptors(files, s.Descriptors, all)
	if errors.Is(err, registry.ErrInvalidWireName) {
		return invalid("manifest %s: field wire_names: %w", manifest, err)
	}
	if err != nil {
		return errors.NewErrorf(Code(err), "field descriptors of %s: %s: %w", manifest, s.Descriptors, err)
	}
	c.GRPCServices = all.GRPCServices()
	names := s.Services
	if len(names) == 0 {
		for _, service := range all.Services() {
			names = append(names, string(service.Name()))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.WireNames)) {
		if !slices.Contains(names, name) {
			return invalid("manifest %s: field wire_names: no service %q in %s", manifest, name, s.Descriptors)
		}
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		service, ok := all.Service(name)
		if slices.Contains(c.GRPCServices, name) {
			return invalid("manifest %s: field services: %s in %s is a gRPC service: its methods have the stream keyword and no psrpc options",
				manifest, name, s.Descriptors)
		}
		if !ok {
			return errors.NewErrorf(errors.NotFound, "manifest %s: field services: no service %q in %s, which has %v",
				manifest, name, s.Descriptors, all.Services())
		}
		c.Services = append(c.Services, service)
	}
	return nil
}

// readDescriptors reads a .proto source or a descriptor set and registers its services in a
// registry.
func readDescriptors(files *files, name string, into *registry.Registry) error {
	if path.Ext(name) == ".proto" {
		// Read the file before the parser does, because the parser's error for a path outside the
		// folder is vague.
		if _, err := files.read(name, maxDescriptor); err != nil {
			return err
		}
		return into.ParseProto(files, name)
	}
	data, err := files.read(name, maxDescriptor)
	if err != nil {
		return err
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(data, &set); err != nil {
		return invalid("not a FileDescriptorSet as written by protoc -o or buf build: %w", err)
	}
	return into.RegisterDescriptorSet(&set)
}

// readCode reads the code. It returns an error if the selection contains a checksum that does not
// match the code.
func (c *Content) readCode(files *files, s Selection) (err error) {
	if c.Code, err = files.read(s.Code, maxCode); err != nil {
		return err
	}
	sum := files.sums[s.Code]
	c.Digest = hex.EncodeToString(sum[:])
	if s.SHA256 != "" && !strings.EqualFold(s.SHA256, c.Digest) {
		return errors.NewErrorf(errors.DataLoss,
			"%s has the checksum %s, but the field sha256 is %s: update one of them", s.Code, c.Digest, s.SHA256)
	}
	return nil
}
