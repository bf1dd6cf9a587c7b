package fleet

import (
	"context"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// DescribeOption configures [Fleet.Describe].
type DescribeOption func(*describeRequest)

// Comments also requests the comments and positions of the .proto files. Not every server has them.
func Comments() DescribeOption {
	return func(r *describeRequest) { r.Comments = true }
}

// Describe gets the descriptors with this digest from any server that has them: the file of the
// service and all files that it imports. If the server sends descriptors with another digest,
// Describe returns an error with code data_loss. If they cannot be decoded, the code is
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
	return f.registryOf(ctx, &versions[0])
}

// registryOf returns the registry of a version, which it caches.
func (f *Fleet) registryOf(ctx context.Context, v *Version) (*registry.Registry, error) {
	return f.registries.load(v, func(digest Digest) (*descriptorpb.FileDescriptorSet, error) {
		return f.Describe(ctx, digest)
	})
}
