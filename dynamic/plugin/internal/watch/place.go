package watch

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxLinks is the maximum number of symbolic links that resolve follows. No operating system
// follows more links than this to open a file.
const maxLinks = 255

// place describes where a path leads in the file system after all links have been followed.
type place struct {
	// real is the path without links. If the path does not exist, real ends with the first element
	// that does not exist.
	real string
	// links contains the path of each link that was followed. If real does not exist, links also
	// contains real, because a link or a folder may be created there later. In each of these paths,
	// only the last element can be a link.
	links []string
}

// resolve follows the links in an absolute path and returns the place to which the path leads.
func resolve(path string) place {
	var p place
	var rest []string
	for p.real, rest = split(path); len(rest) > 0; {
		// Join also handles the element ".." correctly, because p.real contains no links.
		next := filepath.Join(p.real, rest[0])
		rest = rest[1:]
		info, err := os.Lstat(next)
		if err == nil && info.Mode()&fs.ModeSymlink == 0 {
			p.real = next
			continue
		}
		p.links = append(p.links, next)
		target, err := os.Readlink(next)
		if err != nil || len(p.links) == maxLinks {
			p.real = next
			break
		}
		if filepath.IsAbs(target) {
			var first []string
			p.real, first = split(target)
			rest = append(first, rest...)
		} else {
			rest = append(elements(target), rest...)
		}
	}
	return p
}

// split returns the root folder of an absolute path and the elements of the rest of the path.
func split(path string) (root string, rest []string) {
	root = filepath.VolumeName(path) + string(filepath.Separator)
	return root, elements(strings.TrimPrefix(path, root))
}

func elements(path string) []string { return strings.Split(path, string(filepath.Separator)) }

// contains reports whether path is the place or inside it. Only the last element of path may be a
// link.
func (p place) contains(path string) bool {
	return path == p.real || strings.HasPrefix(path, p.real+string(filepath.Separator))
}

// dependsOn reports whether path is one of the links that lead to the place.
func (p place) dependsOn(path string) bool { return slices.Contains(p.links, path) }

// linkFolders returns the parent folder of each link that leads to the place.
func (p place) linkFolders() []string {
	var folders []string
	for _, link := range p.links {
		folders = append(folders, filepath.Dir(link))
	}
	return folders
}
