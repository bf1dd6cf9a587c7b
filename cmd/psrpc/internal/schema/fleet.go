package schema

import (
	"cmp"
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
)

// fleetWait is how long to wait by default for servers that do not answer.
const fleetWait = 500 * time.Millisecond

// FromFleet returns a [Fleet] that asks the servers of f. wait is how long to wait for servers that
// do not answer; 0 stands for half a second.
func FromFleet(f *fleet.Fleet, wait time.Duration) Fleet {
	return askedFleet{f, cmp.Or(wait, fleetWait)}
}

type askedFleet struct {
	fleet *fleet.Fleet
	wait  time.Duration
}

// Versions implements Fleet.
func (a askedFleet) Versions(ctx context.Context, wireName string) ([]Version, error) {
	opts := []fleet.QueryOption{fleet.Parts(fleet.PartServices), fleet.Wait(a.wait)}
	if wireName != "" {
		opts = append(opts, fleet.OfService(wireName), fleet.Services(wireName))
	}
	type key struct{ name, wireName, digest string }
	found := map[key]int{}
	var versions []Version
	for server, err := range a.fleet.Servers(ctx, opts...) {
		if server == nil {
			return nil, err
		}
		for _, service := range server.Services {
			k := key{service.Name, service.WireName, service.Digest.String()}
			i, ok := found[k]
			if !ok {
				i = len(versions)
				found[k] = i
				versions = append(versions, newVersion(&service))
			}
			versions[i].Servers = append(versions[i].Servers, server.ID)
		}
	}
	// The version with the most servers comes first.
	slices.SortFunc(versions, func(a, b Version) int {
		return cmp.Or(cmp.Compare(len(b.Servers), len(a.Servers)), cmp.Compare(a.Digest, b.Digest))
	})
	return versions, nil
}

func newVersion(service *fleet.Service) Version {
	version := Version{Service: service.Name, WireName: service.WireName, Digest: service.Digest.String()}
	for _, method := range service.Methods {
		version.Methods = append(version.Methods, method.Name)
	}
	return version
}

// Files implements Fleet.
func (a askedFleet) Files(ctx context.Context, digest string) (*descriptorpb.FileDescriptorSet, error) {
	parsed, err := fleet.ParseDigest(digest)
	if err != nil {
		return nil, err
	}
	return a.fleet.Describe(ctx, parsed, fleet.Comments())
}

// HasDigest reports whether a service in a descriptor set has the given digest. It is meant for the
// field Check of a [Cache].
func HasDigest(files *descriptorpb.FileDescriptorSet, digest string) bool {
	reg := newRegistry()
	if reg.RegisterDescriptorSet(files) != nil {
		return false
	}
	for _, service := range reg.Services() {
		if actual, err := fleet.DigestOf(service.Descriptor()); err == nil && actual.String() == digest {
			return true
		}
	}
	return false
}
