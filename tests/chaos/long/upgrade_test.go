//go:build chaos && unix

package long_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// oldCommit is the version from which the fleet is upgraded.
	oldCommit = "45ebe34"
	root      = "../../.."
)

// All processes of a fleet are upgraded from an older version of this module one by one, then
// downgraded, and upgraded again. Clients of both versions make calls all the time, and no call may
// fail. Streams may end when their server is replaced.
func TestUpgrade_RollsForthAndBack(t *testing.T) {
	older := buildOlder(t)
	onBrokers(t, func(t *testing.T, f *fleet) {
		newer := f.program
		f.clients = append(f.clients, f.start("client"))
		f.program = older
		f.begin()
		for _, program := range []string{newer, older, newer} {
			f.program = program
			for range f.servers {
				f.roll(&f.servers)
			}
			for range f.consumers {
				f.roll(&f.consumers)
			}
			pause(2 * time.Second)
		}
		f.end(promises{mayFail: streams})
	})
}

// roll starts a new process and then ends the oldest process of the list.
func (f *fleet) roll(peers *[]*peer) {
	f.t.Helper()
	next := f.start((*peers)[0].role)
	(*peers)[0].terminate()
	*peers = append((*peers)[1:], next)
	pause(300 * time.Millisecond)
}

// buildOlder builds the program peer with the version oldCommit of this module. It skips the test
// if the repository does not contain that commit.
func buildOlder(t *testing.T) (program string) {
	t.Helper()
	if output, err := command(t, root, "git", "cat-file", "-e", oldCommit+"^{commit}"); err != nil {
		t.Skipf("THE ROLLING UPGRADE IS NOT TESTED: this clone does not have commit %s (git fetch --unshallow): %s", oldCommit, output)
	}
	tree := t.TempDir()
	archive := filepath.Join(t.TempDir(), "tree.tar")
	requireCommand(t, root, "git", "archive", "-o", archive, oldCommit)
	requireCommand(t, tree, "tar", "-xf", archive)
	copyPeer(t, filepath.Join(tree, "tests/chaos/long/peer"))
	program = filepath.Join(t.TempDir(), "peer-"+oldCommit)
	requireCommand(t, tree, "go", "build", "-o", program, "./tests/chaos/long/peer")
	return program
}

// copyPeer copies the source of the program peer to the folder to. It replaces public names that
// oldCommit does not have.
func copyPeer(t *testing.T, to string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(to, 0o750))
	names := oldNames(t)
	files, err := fs.Glob(os.DirFS("peer"), "*.go")
	require.NoError(t, err)
	for _, file := range files {
		source, err := os.ReadFile(filepath.Join("peer", file))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(to, file), []byte(names.Replace(string(source))), 0o600))
	}
}

// oldNames returns a replacer that undoes the renaming of public names since oldCommit. It leaves
// out names that replace several old ones.
func oldNames(t *testing.T) *strings.Replacer {
	t.Helper()
	list, err := os.ReadFile(root + "/docs/renames.txt")
	require.NoError(t, err)
	type rename struct{ from, to string }
	var renames []rename
	count := map[string]int{}
	for line := range strings.Lines(string(list)) {
		words := strings.Fields(line)
		if len(words) == 3 && !strings.HasPrefix(line, "#") {
			pkg := path.Base(words[0])
			renames = append(renames, rename{from: pkg + "." + words[1], to: pkg + "." + words[2]})
			count[pkg+"."+words[2]]++
		}
	}
	var pairs []string
	for _, r := range renames {
		if count[r.to] == 1 {
			pairs = append(pairs, r.to, r.from)
		}
	}
	return strings.NewReplacer(pairs...)
}

// command runs a program and returns its output.
func command(t *testing.T, dir, name string, args ...string) (output string, err error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	c.Dir = dir
	printed, err := c.CombinedOutput()
	return string(printed), err
}

func requireCommand(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	output, err := command(t, dir, name, args...)
	require.NoError(t, err, output)
}
