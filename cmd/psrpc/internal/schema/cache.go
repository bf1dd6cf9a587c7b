package schema

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// maxCached is the maximum number of descriptor sets in the cache. If there are more, the oldest
// ones are removed.
const maxCached = 256

// Cache stores descriptors from servers, with one file for each digest. The cache only saves time,
// so it reports no errors. If the directory cannot be used, nothing is stored and nothing is found.
type Cache struct {
	// Dir is the directory of the files. If it is empty, there is no cache.
	Dir string
	// Check reports whether the descriptors have the given digest. The cache removes a file for
	// which it returns false.
	Check func(files *descriptorpb.FileDescriptorSet, digest string) bool
}

// Entry is a descriptor set in the cache.
type Entry struct {
	Digest   string
	Files    *descriptorpb.FileDescriptorSet
	Versions []Version
}

// digestName matches the names of the files in the cache.
var digestName = regexp.MustCompile(`^[0-9a-f]{8,64}\.binpb$`)

// Get returns the descriptors with the given digest.
func (c *Cache) Get(digest string) (*descriptorpb.FileDescriptorSet, bool) {
	if c.Dir == "" {
		return nil, false
	}
	path := c.path(digest)
	encoded, err := os.ReadFile(path) //nolint:gosec // a name made of hex digits
	if err != nil {
		return nil, false
	}
	files := new(descriptorpb.FileDescriptorSet)
	if proto.Unmarshal(encoded, files) != nil || c.Check != nil && !c.Check(files, digest) {
		_ = os.Remove(path) // the file is damaged
		return nil, false
	}
	return files, true
}

// Put stores descriptors.
func (c *Cache) Put(digest string, files *descriptorpb.FileDescriptorSet) {
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(files)
	if err != nil || !digestName.MatchString(filepath.Base(c.path(digest))) {
		return
	}
	if os.MkdirAll(c.Dir, 0o700) != nil {
		return
	}
	// Write to a temporary file and rename it when it is complete. Another process then never reads
	// half of the file.
	temporary, err := os.CreateTemp(c.Dir, "new-*")
	if err != nil {
		return
	}
	_, err = temporary.Write(encoded)
	err = errors.Join(err, temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), c.path(digest))
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
	}
	c.prune()
}

// Entries returns the content of the cache, the newest entry first.
func (c *Cache) Entries() []Entry {
	var entries []Entry
	for _, file := range c.list() {
		digest := strings.TrimSuffix(file.Name(), ".binpb")
		files, ok := c.Get(digest)
		if !ok {
			continue
		}
		reg := newRegistry()
		if reg.RegisterDescriptorSet(files) != nil {
			continue
		}
		versions := versionsOf(reg)
		for i := range versions {
			versions[i].Digest = digest
		}
		entries = append(entries, Entry{Digest: digest, Files: files, Versions: versions})
	}
	return entries
}

// list returns the files of the cache, the newest first.
func (c *Cache) list() []os.FileInfo {
	found, err := os.ReadDir(c.Dir)
	if err != nil {
		return nil
	}
	var files []os.FileInfo
	for _, entry := range found {
		if info, err := entry.Info(); err == nil && digestName.MatchString(info.Name()) {
			files = append(files, info)
		}
	}
	slices.SortFunc(files, func(a, b os.FileInfo) int {
		return cmp.Or(b.ModTime().Compare(a.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	return files
}

// prune removes the oldest files if there are more than maxCached.
func (c *Cache) prune() {
	files := c.list()
	for _, file := range files[min(len(files), maxCached):] {
		_ = os.Remove(filepath.Join(c.Dir, file.Name()))
	}
}

func (c *Cache) path(digest string) string { return filepath.Join(c.Dir, digest+".binpb") }
