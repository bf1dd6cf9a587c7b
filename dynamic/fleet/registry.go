package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Version is a version of a service in a fleet.
type Version struct {
	Digest Digest
	// Name is the full name of the service, and WireName its name on the bus.
	Name, WireName string
	// Servers contains the sorted IDs of the servers that serve this version.
	Servers []string
}

// VersionsError is returned by [Fleet.Registry] if servers serve different versions of a service.
type VersionsError struct {
	// Service is the full name of the service.
	Service string
	// Versions contains at least two versions. Those with the most servers come first.
	Versions []Version
}

// Error implements error. It names all versions, and up to three servers of each.
func (e *VersionsError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "service %s has %d versions:", e.Service, len(e.Versions))
	for i, v := range e.Versions {
		if i > 0 {
			b.WriteByte(';')
		}
		named := v.Servers[:min(len(v.Servers), 3)]
		fmt.Fprintf(&b, " %s on %s", v.Digest, strings.Join(named, ", "))
		if more := len(v.Servers) - len(named); more > 0 {
			fmt.Fprintf(&b, " and %d more", more)
		}
	}
	return b.String()
}

// DescribeOption configures [Fleet.Describe].
type DescribeOption func(*describeRequest)

// Comments also gets the comments and positions of the .proto files, if the server has them.
func Comments() DescribeOption {
	return func(r *describeRequest) { r.Comments = true }
}

// Describe gets the descriptors that digest identifies from any server that has them: the file of
// the service and all files that it imports. If what a server sends has another digest, Describe
// returns an error with code data_loss. If they cannot be decoded, the code is
// [errors.MalformedResponse]. The other errors are those of [dynamic.Client.Call].
func (f *Fleet) Describe(ctx context.Context, digest Digest, opts ...DescribeOption) (*descriptorpb.FileDescriptorSet, error) {
	var request describeRequest
	for _, opt := range opts {
		if opt != nil {
			opt(&request)
		}
	}
	response, err := f.describe.Topic(digest.String()).Call(ctx, toMessage(&request))
	if err != nil {
		return nil, err
	}
	files, err := unpackFiles(fromMessage[describeResponse](response))
	if err != nil {
		return nil, errors.NewErrorf(errors.MalformedResponse, "descriptors with digest %s: %w", digest, err)
	}
	if got, err := digestOfFiles(files.GetFile()); err != nil || got != digest {
		return nil, errors.NewErrorf(errors.DataLoss, "descriptors with digest %s: the server has sent others, with digest %s", digest, got)
	}
	return files, nil
}

// Versions asks all servers which versions of a service they serve. service is the full name of the
// service or its name on the bus. Versions with the most servers come first. If no server reports
// the service, the result is empty.
func (f *Fleet) Versions(ctx context.Context, service string) ([]Version, error) {
	// By default, the name on the bus is the last part of the full name.
	simple := service[strings.LastIndexByte(service, '.')+1:]
	versions, err := f.versions(ctx, service, OfService(simple), Services(simple))
	if err == nil && len(versions) == 0 {
		versions, err = f.versions(ctx, service)
	}
	return versions, err
}

func (f *Fleet) versions(ctx context.Context, service string, opts ...QueryOption) ([]Version, error) {
	found := make(map[versionKey]*Version)
	for server, err := range f.Servers(ctx, append(opts, Parts(PartServices))...) {
		if server == nil {
			return nil, err
		}
		for _, s := range server.Services {
			if s.Name != service && s.WireName != service {
				continue
			}
			version := Version{Digest: s.Digest, Name: s.Name, WireName: s.WireName}
			if found[version.key()] == nil {
				found[version.key()] = &version
			}
			found[version.key()].Servers = append(found[version.key()].Servers, server.ID)
		}
	}
	versions := make([]Version, 0, len(found))
	for v := range maps.Values(found) {
		slices.Sort(v.Servers)
		versions = append(versions, *v)
	}
	slices.SortFunc(versions, func(a, b Version) int {
		if n := len(b.Servers) - len(a.Servers); n != 0 {
			return n
		}
		return strings.Compare(a.Digest.String()+a.Name+a.WireName, b.Digest.String()+b.Name+b.WireName)
	})
	return versions, nil
}

// Registry returns a registry that contains a service of the fleet, with the descriptors that the
// service's servers have. service is the full name of the service or its name on the bus. The
// registry also contains the services that are declared in the same file and in the files that it
// imports. Registry always asks which versions are being served, but caches their descriptors. The
// result must not be changed.
//
// If servers serve several versions, Registry returns a *[VersionsError]. If no server reports the
// service, the error has the code [errors.NotFound]. The other errors are those of [Fleet.Servers]
// and [Fleet.Describe].
func (f *Fleet) Registry(ctx context.Context, service string) (*registry.Registry, error) {
	versions, err := f.Versions(ctx, service)
	switch {
	case err != nil:
		return nil, err
	case len(versions) == 0:
		return nil, errors.NewErrorf(errors.NotFound,
			"no server tells that it serves %s; only servers whose programs call fleet.Serve tell it", service)
	case len(versions) > 1:
		return nil, &VersionsError{Service: service, Versions: versions}
	}
	return f.registries.load(ctx, f, &versions[0])
}

// maxRegistries is the maximum number of registries that a Fleet caches.
const maxRegistries = 256

// registryCache caches the registries of versions. The zero value is empty.
type registryCache struct {
	mu      sync.Mutex
	entries map[versionKey]*registry.Registry
}

// versionKey identifies a version of a service.
type versionKey struct {
	digest         Digest
	name, wireName string
}

func (v *Version) key() versionKey { return versionKey{v.Digest, v.Name, v.WireName} }

// load returns the registry of a version. If it is not in the cache, load gets its descriptors from
// the fleet. Several goroutines may get the same descriptors, which does no harm.
func (c *registryCache) load(ctx context.Context, f *Fleet, v *Version) (*registry.Registry, error) {
	c.mu.Lock()
	reg := c.entries[v.key()]
	c.mu.Unlock()
	if reg != nil {
		return reg, nil
	}
	files, err := f.Describe(ctx, v.Digest)
	if err != nil {
		return nil, err
	}
	reg = registry.New(quiet(), registry.WithWireNames(map[string]string{v.Name: v.WireName}))
	if err := reg.RegisterDescriptorSet(files); err != nil {
		return nil, errors.NewErrorf(errors.MalformedResponse, "descriptors of %s with digest %s: %w", v.Name, v.Digest, err)
	}
	if _, ok := reg.Service(v.Name); !ok {
		return nil, errors.NewErrorf(errors.MalformedResponse, "descriptors with digest %s: they do not declare %s", v.Digest, v.Name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= maxRegistries || c.entries == nil {
		c.entries = make(map[versionKey]*registry.Registry)
	}
	c.entries[v.key()] = reg
	return reg, nil
}

// quiet returns the option that turns off warnings about schemas, because the schemas come from
// other programs.
func quiet() registry.LoadOption { return registry.WithLogger(slog.New(slog.DiscardHandler)) }
