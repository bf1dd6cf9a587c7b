package schema

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// ErrNotFound is wrapped by an error about a service or method whose schema was not found.
var ErrNotFound = errors.NewErrorf(errors.NotFound, "no schema found")

// Version is a version of a service that some servers serve.
type Version struct {
	// Service is the full name of the service, and WireName its name on the bus.
	Service, WireName string
	// Digest identifies the descriptors of the service, in hex.
	Digest string
	// Methods contains the names of the methods as in the schema.
	Methods []string
	// Servers contains the IDs of those servers that are known to have this version.
	Servers []string
}

// Fleet asks servers for their schemas.
type Fleet interface {
	// Versions returns the versions of the services on the bus. If wireName is not empty, it returns
	// only those of the service with that name. The result is empty if no server answers.
	Versions(ctx context.Context, wireName string) ([]Version, error)
	// Files returns the descriptors with the given digest.
	Files(ctx context.Context, digest string) (*descriptorpb.FileDescriptorSet, error)
}

// Chain finds services and methods in the files that the user has named, at the servers and in the
// cache. It adds the services that it finds to a registry.
type Chain struct {
	registry *registry.Registry
	files    *Files
	cache    *Cache
	fleet    func(ctx context.Context) (Fleet, error)
	digest   string
	// origins maps the full name of each service to the place where its schema was found.
	origins map[string]string
}

// New returns a chain that adds services to reg. The chain calls fleet when it needs to ask the
// servers; if fleet is nil, no server is asked. If digest is not empty, descriptors from servers
// and from the cache are used only if their digest begins with it.
func New(reg *registry.Registry, files *Files, cache *Cache, fleet func(ctx context.Context) (Fleet, error), digest string) *Chain {
	return &Chain{registry: reg, files: files, cache: cache, fleet: fleet, digest: digest, origins: map[string]string{}}
}

// Origin says where the schema of a service was found, such as "from the servers, digest 9f2c4e01".
func (c *Chain) Origin(service *registry.Service) string {
	if origin, ok := c.origins[string(service.Name())]; ok {
		return origin
	}
	return "from the files"
}

// Method returns the method with the given name: pkg.Service/Method, or a suffix of it that is
// unique. If the schema is not found, the error wraps [ErrNotFound] and says where it was looked
// for.
func (c *Chain) Method(ctx context.Context, name string) (*registry.Method, error) {
	wanted := newPattern(name)
	service, err := c.find(ctx, wanted, wireNameOfMethod(name), methodNames)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, m := range service.Methods() {
		if wanted.matches(m.FullName()) {
			found = append(found, m.Name())
		}
	}
	if len(found) != 1 {
		return nil, ambiguous(name, found)
	}
	method, _ := service.Method(found[0])
	return method, nil
}

// Service returns the service with the given name: pkg.Service, or a suffix of it that is unique.
// Its errors are like those of [Chain.Method].
func (c *Chain) Service(ctx context.Context, name string) (*registry.Service, error) {
	return c.find(ctx, newPattern(name), simpleName(name), serviceNames)
}

// LoadFiles adds the services of the files that the user has named to the registry.
func (c *Chain) LoadFiles() error { return c.files.LoadInto(c.registry) }

// All returns the services that can be found in the files and at the servers. If no server answers,
// it uses the cache instead of the servers. It leaves out services whose schema cannot be read, and
// all but one version of each service.
func (c *Chain) All(ctx context.Context) []*registry.Service {
	_ = c.files.LoadInto(c.registry) // the other places may still have the services
	var asked Fleet
	var versions []Version
	if c.fleet != nil {
		if fleet, err := c.fleet(ctx); err == nil {
			asked = fleet
			versions, _ = fleet.Versions(ctx, "")
		}
	}
	if len(versions) == 0 {
		for _, entry := range c.cache.Entries() {
			versions = append(versions, entry.Versions...)
		}
	}
	for _, version := range newestOnly(c.withDigest(versions)) {
		if _, known := c.registry.Service(version.Service); known {
			continue
		}
		if files, err := c.filesOf(ctx, asked, version.Digest); err == nil {
			_, _ = c.add(&version, files, "from the servers")
		}
	}
	return c.registry.Services()
}

// filesOf returns the descriptors with the given digest from the cache or else from the servers.
func (c *Chain) filesOf(ctx context.Context, fleet Fleet, digest string) (*descriptorpb.FileDescriptorSet, error) {
	if files, cached := c.cache.Get(digest); cached {
		return files, nil
	}
	if fleet == nil {
		return nil, ErrNotFound
	}
	files, err := fleet.Files(ctx, digest)
	if err == nil {
		c.cache.Put(digest, files)
	}
	return files, err
}

// namesOf returns the names by which the user can refer to a version: the name of the service, or
// the names of its methods.
type namesOf func(version Version) []string

func methodNames(version Version) []string {
	names := make([]string, len(version.Methods))
	for i, method := range version.Methods {
		names[i] = version.Service + "/" + method
	}
	return names
}

func serviceNames(version Version) []string { return []string{version.Service} }

// find returns the service that matches wanted. For each version, the function passed as names
// returns the names to compare. wireName is the likely name of the service on the bus, or empty if
// the user has typed only a method.
func (c *Chain) find(ctx context.Context, wanted pattern, wireName string, names namesOf) (*registry.Service, error) {
	if err := c.files.LoadInto(c.registry); err != nil {
		return nil, err
	}
	search := search{wanted: wanted, names: names}
	loaded := versionsOf(c.registry)
	if match, err := search.in(loaded); match != nil || err != nil {
		return c.registered(match, err)
	}
	fromFleet, outcome, unreachable, err := c.askFleet(ctx, &search, wireName)
	if fromFleet != nil || err != nil {
		return fromFleet, err
	}
	fromCache, err := c.readCache(&search)
	switch {
	case fromCache != nil || err != nil:
		return fromCache, err
	case unreachable != nil && !c.files.Named():
		return nil, unreachable
	default:
		return nil, fmt.Errorf("%w for %s%s\n  %s\n  %s\n  cache: not among its schemas",
			ErrNotFound, wanted.name, search.hint(), c.files.tried(), outcome)
	}
}

// registered returns the registry's service for a match. If err is not nil, it returns err instead.
func (c *Chain) registered(match *Version, err error) (*registry.Service, error) {
	if err != nil {
		return nil, err
	}
	return c.registry.FindService(match.Service)
}

// askFleet asks the servers for the schema of a service. If it finds none, outcome is a line for
// the user that says why. If the servers cannot be asked, unreachable is the cause.
func (c *Chain) askFleet(ctx context.Context, search *search, wireName string) (service *registry.Service, outcome string, unreachable, err error) {
	if c.fleet == nil {
		return nil, "servers: not asked", nil, nil
	}
	fleet, err := c.fleet(ctx)
	if err != nil {
		return nil, "servers: " + err.Error(), err, nil
	}
	versions, err := fleet.Versions(ctx, wireName)
	if err == nil && len(versions) == 0 && wireName != "" {
		// The service may have a name on the bus that differs from its name in the schema, so ask
		// for all services.
		versions, err = fleet.Versions(ctx, "")
	}
	if err != nil {
		return nil, "servers: " + err.Error(), err, nil
	}
	match, err := search.in(c.withDigest(versions))
	switch {
	case err != nil:
		return nil, "", nil, err
	case match == nil && len(versions) == 0:
		return nil, "servers: none answers that can tell its schema", nil, nil
	case match == nil:
		return nil, "servers: " + c.describeVersions(versions), nil, nil
	}
	files, err := c.filesOf(ctx, fleet, match.Digest)
	if err != nil {
		return nil, "", nil, fmt.Errorf("schema of %s, digest %.8s: %w", match.Service, match.Digest, err)
	}
	service, err = c.add(match, files, "from the servers")
	return service, "", nil, err
}

// readCache looks for a service in the cache. It returns nil if there is none.
func (c *Chain) readCache(search *search) (*registry.Service, error) {
	var versions []Version
	files := map[string]*descriptorpb.FileDescriptorSet{}
	for _, entry := range c.cache.Entries() {
		files[entry.Digest] = entry.Files
		versions = append(versions, entry.Versions...)
	}
	match, err := search.in(c.withDigest(newestOnly(versions)))
	if match == nil || err != nil {
		return nil, err
	}
	return c.add(match, files[match.Digest], "from the cache")
}

// add adds the service of a version to the registry. origin says where its schema was found.
func (c *Chain) add(version *Version, files *descriptorpb.FileDescriptorSet, origin string) (*registry.Service, error) {
	if _, declared := c.registry.Service(version.Service); declared {
		return nil, fmt.Errorf("%w: the files declare another version of %s, without it; leave out -p to use the version %s, digest %.8s",
			ErrNotFound, version.Service, origin, version.Digest)
	}
	loaded := newRegistry(registry.WithWireNames(map[string]string{version.Service: version.WireName}))
	if err := loaded.RegisterDescriptorSet(files); err != nil {
		return nil, fmt.Errorf("schema of %s, digest %.8s: %w", version.Service, version.Digest, err)
	}
	service, err := loaded.FindService(version.Service)
	if err != nil {
		return nil, err
	}
	c.origins[version.Service] = fmt.Sprintf("%s, digest %.8s", origin, version.Digest)
	return c.registry.Register(service.Descriptor(), registry.WithWireName(version.WireName))
}

// newRegistry returns an empty registry. It logs nothing, because notices about schemas from
// servers would not help the user.
func newRegistry(opts ...registry.LoadOption) *registry.Registry {
	return registry.New(append(opts, registry.WithLogger(slog.New(slog.DiscardHandler)))...)
}

// withDigest returns the versions whose digest begins with the digest that the user has named. If
// the user has named none, it returns all versions.
func (c *Chain) withDigest(versions []Version) []Version {
	if c.digest == "" {
		return versions
	}
	return slices.DeleteFunc(slices.Clone(versions), func(v Version) bool { return !strings.HasPrefix(v.Digest, c.digest) })
}

// newestOnly keeps the first version of each service. For versions from the cache, this is the
// newest one.
func newestOnly(versions []Version) []Version {
	seen := map[string]bool{}
	return slices.DeleteFunc(versions, func(v Version) bool {
		repeated := seen[v.Service]
		seen[v.Service] = true
		return repeated
	})
}

// versionsOf returns the services of a registry as versions.
func versionsOf(reg *registry.Registry) []Version {
	var versions []Version
	for _, service := range reg.Services() {
		version := Version{Service: string(service.Name()), WireName: service.WireName()}
		for _, method := range service.Methods() {
			version.Methods = append(version.Methods, method.Name())
		}
		versions = append(versions, version)
	}
	return versions
}

// maxNamed is the maximum number of services or versions that an error names.
const maxNamed = 8

// describeVersions tells the user what the servers serve instead of the wanted service: other
// services or, if the user has named a digest, other versions.
func (c *Chain) describeVersions(versions []Version) string {
	var names []string
	for _, version := range versions {
		name := version.Service
		if c.digest != "" {
			name = fmt.Sprintf("%s %.8s", version.Service, version.Digest)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	which := "they serve "
	if c.digest != "" {
		which = "no digest begins with " + c.digest + ", they serve "
	}
	if len(names) > maxNamed {
		return which + fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), len(names)-maxNamed)
	}
	return which + strings.Join(names, ", ")
}
