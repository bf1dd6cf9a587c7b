package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/fleet"
	"github.com/dynpsrpc/dynpsrpc/internal/schemadiff"
	"github.com/dynpsrpc/dynpsrpc/registry"
)

// version is one version of a service, and the servers that serve it.
type version struct {
	digest  fleet.Digest
	name    string // the full name of the service
	servers []string
	// latestStart is the time at which the last server of this version was started. The version
	// with the later latestStart is considered the newer one.
	latestStart time.Time
	methods     []fleet.Method
}

// short returns the first digits of the digest, by which people recognize a version.
func (v version) short() string { return v.digest.String()[:8] }

// versionsOf groups the servers by service and version. The keys are the names of the services on
// the bus. The versions of a service are sorted by latestStart, so the newest one comes last.
func versionsOf(servers []*fleet.Server) map[string][]version {
	type key struct {
		wireName, name string
		digest         fleet.Digest
	}
	byKey := make(map[key]*version)
	for _, server := range servers {
		for _, service := range server.Services {
			k := key{service.WireName, service.Name, service.Digest}
			v := byKey[k]
			if v == nil {
				v = &version{digest: service.Digest, name: service.Name, methods: service.Methods}
				byKey[k] = v
			}
			v.servers = append(v.servers, server.ID)
			if server.Started.After(v.latestStart) {
				v.latestStart = server.Started
			}
		}
	}
	services := make(map[string][]version)
	for k, v := range byKey {
		slices.Sort(v.servers)
		services[k.wireName] = append(services[k.wireName], *v)
	}
	for _, versions := range services {
		slices.SortFunc(versions, func(a, b version) int {
			return cmp.Or(a.latestStart.Compare(b.latestStart), cmp.Compare(a.digest.String(), b.digest.String()))
		})
	}
	return services
}

// withOneName returns the versions with the same full name as the newest one. The check fleet.names
// reports the others.
func withOneName(versions []version) []version {
	name := versions[len(versions)-1].name
	return slices.DeleteFunc(slices.Clone(versions), func(v version) bool { return v.name != name })
}

// checkVersions finds services that are served in several versions.
func checkVersions(f *facts) (found []Finding) {
	services := versionsOf(f.servers)
	for _, wireName := range slices.Sorted(maps.Keys(services)) {
		versions := withOneName(services[wireName])
		for i := range len(versions) - 1 {
			found = append(found, f.compareVersions(versions[i], versions[len(versions)-1]))
		}
	}
	return found
}

// compareVersions compares the descriptors of two versions of a service.
func (f *facts) compareVersions(older, newer version) Finding {
	finding := Finding{
		Severity: Warning,
		Do:       fmt.Sprintf("roll out one version; psrpc describe --digest %s %s", older.short(), older.name),
		Servers:  older.servers,
	}
	subject := fmt.Sprintf("%s has the versions %s (old, %s) and %s (new, %s)",
		older.name, older.short(), count(len(older.servers), "server"), newer.short(), count(len(newer.servers), "server"))
	a, b := f.descriptors[older.digest], f.descriptors[newer.digest]
	if a == nil || b == nil {
		finding.Seen = subject + "; the descriptors of one could not be read, so that they are not compared"
		return finding
	}
	finding.Differences = schemadiff.Compare(a.Descriptor(), b.Descriptor())
	breaking := slices.DeleteFunc(slices.Clone(finding.Differences), func(d schemadiff.Difference) bool { return !d.Breaking })
	if len(breaking) > 0 {
		finding.Severity = Error
		finding.Seen = subject + ", which do not understand each other: " + listed(breaking)
		return finding
	}
	finding.Seen = subject + ", which understand each other"
	if len(finding.Differences) > 0 {
		finding.Seen += ": " + listed(finding.Differences)
	}
	return finding
}

// optionsOf describes the options of a method that must be the same on both sides of a call.
func optionsOf(m fleet.Method) string {
	text := strings.ToUpper(m.Routing.String())
	if m.Kind != registry.KindSingle && m.Kind != registry.KindMulti {
		text = m.Kind.String() + " " + text
	}
	if !m.RequireClaim && m.Routing != registry.RoutingMulti {
		text += " with a single server"
	}
	if len(m.TopicParams) > 0 {
		text += " with the topic " + strings.Join(m.TopicParams, "/")
	}
	return text
}

// checkOptions finds methods whose options differ between the versions of a service. Such a
// difference is worse than others, because requests are then lost or run twice.
func checkOptions(f *facts) (found []Finding) {
	services := versionsOf(f.servers)
	for _, wireName := range slices.Sorted(maps.Keys(services)) {
		versions := withOneName(services[wireName])
		newest := versions[len(versions)-1]
		for _, older := range versions[:len(versions)-1] {
			for _, method := range older.methods {
				i := slices.IndexFunc(newest.methods, func(m fleet.Method) bool { return m.WireName == method.WireName })
				if i < 0 {
					continue // the check fleet.versions reports it
				}
				was, is := optionsOf(method), optionsOf(newest.methods[i])
				if was == is {
					continue
				}
				found = append(found, Finding{
					Severity: Error,
					Seen: fmt.Sprintf("%s/%s is %s in %s and %s in %s: peers disagree on who gets a request and who claims it",
						older.name, method.Name, was, older.short(), is, newest.short()),
					Do:      fmt.Sprintf("roll out one version; psrpc describe --digest %s %s", older.short(), older.name),
					Servers: slices.Concat(older.servers, newest.servers),
				})
			}
		}
	}
	return found
}

// checkNames finds different services that have the same name on the bus.
func checkNames(f *facts) (found []Finding) {
	services := versionsOf(f.servers)
	for _, wireName := range slices.Sorted(maps.Keys(services)) {
		servers := make(map[string][]string) // by full name
		for _, v := range services[wireName] {
			servers[v.name] = append(servers[v.name], v.servers...)
		}
		if len(servers) < 2 {
			continue
		}
		names := slices.Sorted(maps.Keys(servers))
		finding := Finding{
			Severity: Error,
			Seen: fmt.Sprintf("%s have the same name on the bus, %s: servers of one get requests for the other",
				strings.Join(names, " and "), wireName),
			Do: "give one of them another name with WithWireName, on servers and clients",
		}
		for _, name := range names {
			finding.Servers = append(finding.Servers, servers[name]...)
		}
		found = append(found, finding)
	}
	return found
}

// count returns a number and a noun, such as "1 server" or "2 servers".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// maxListed is how many items of a list a finding names.
const maxListed = 3

// listed joins the first items of a list and adds the number of the others.
func listed[T fmt.Stringer](items []T) string {
	texts := make([]string, 0, maxListed)
	for _, item := range items[:min(len(items), maxListed)] {
		texts = append(texts, item.String())
	}
	return joined(texts, len(items))
}

// joined joins up to maxListed texts. total is the number of items of the whole list. If it is
// higher, the result ends with the number of items left out.
func joined(texts []string, total int) string {
	shown := texts[:min(len(texts), maxListed)]
	text := strings.Join(shown, ", ")
	if more := total - len(shown); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
