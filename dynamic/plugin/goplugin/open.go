package goplugin

import (
	"bytes"
	"debug/buildinfo"
	"os"
	stdplugin "plugin"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/guard"
	"github.com/dynpsrpc/dynpsrpc/internal/privatecopy"
)

// copyPrefix is the prefix of the names of temporary directories. Each of these directories
// contains a private copy of a plugin.
const copyPrefix = "dynpsrpc-goplugin-"

// loaded holds the results of all plugin loads in this process, keyed by the digest of the plugin's
// code. A failed load is not retried, because the plugin may be partially loaded. In addition, if
// an init function has panicked, another call to the standard library's plugin.Open would block
// forever.
var loaded = struct {
	sync.Mutex

	results map[string]loadResult
}{results: map[string]loadResult{}}

// loadResult holds the results of openFile.
type loadResult struct {
	services servicesFunc
	err      error
}

// open loads a plugin and returns its Services function. If the process has already loaded the same
// content, open returns the result of that load. Plugins are loaded one at a time.
func open(source *plugin.Source) (servicesFunc, error) {
	loaded.Lock()
	defer loaded.Unlock()
	if r, done := loaded.results[source.Digest]; done {
		return r.services, r.err
	}
	if err := checkBuild(source.Content); err != nil {
		return nil, err
	}
	// Delete the copies that were left behind by hosts that have been killed.
	privatecopy.RemoveStale(os.TempDir(), copyPrefix, func(string) {})
	folder, err := privatecopy.New(os.TempDir(), copyPrefix)
	if err != nil {
		return nil, errors.NewErrorf(errors.Internal, "cannot make a private copy of the plugin: %w", err)
	}
	defer folder.Remove() //nolint:errcheck // the file stays mapped, and a leftover is removed by the next host
	path, err := folder.WriteProgram(source.Digest+".so", source.Content)
	if err != nil {
		return nil, errors.NewErrorf(errors.Internal, "cannot make a private copy of the plugin: %w", err)
	}
	services, err := openFile(path)
	loaded.results[source.Digest] = loadResult{services, err}
	return services, err
}

// openFile loads a shared object and returns its Services function.
func openFile(path string) (services servicesFunc, err error) {
	err = guard.Call("init", func() error {
		p, err := stdplugin.Open(path)
		if err != nil {
			return withAdvice(err)
		}
		found, err := p.Lookup(symbol)
		if err != nil {
			return errors.NewErrorf(errors.FailedPrecondition,
				"the plugin does not export %s: it must have func %s() ([]plugin.Service, error)", symbol, symbol)
		}
		var ok bool
		if services, ok = found.(servicesFunc); !ok {
			return errors.NewErrorf(errors.FailedPrecondition, "%s is a %T, but must be a %T", symbol, found, services)
		}
		return nil
	})
	return services, err
}

// withAdvice adds advice to an error returned by plugin.Open. It recognizes these errors by their
// text, because they all have the same type.
func withAdvice(err error) error {
	advice := "rebuild it in the same way as the host"
	switch {
	case strings.Contains(err.Error(), "failed to map segment"):
		advice = "the folder of temporary files, " + os.TempDir() + ", may be mounted noexec: set another one with the environment variable TMPDIR"
	case strings.Contains(err.Error(), "plugin already loaded"):
		advice = "another version is loaded with the same plugin path: pass the files of the package to go build, " +
			"as in go build -buildmode=plugin -o greeter.so ./greeter/*.go, so that each version has its own path"
	}
	return errors.NewErrorf(errors.FailedPrecondition, "%w: %s", err, advice)
}

// checkBuild returns an error if content is not a Go plugin, or if the plugin and the host were
// built differently. In the latter case, the error lists all differences.
func checkBuild(content []byte) error {
	pluginInfo, err := buildinfo.Read(bytes.NewReader(content))
	if err != nil {
		return errors.NewErrorf(errors.InvalidArgument, "not a Go plugin, or truncated: %w", err)
	}
	if mode := settings(pluginInfo)["-buildmode"]; mode != "plugin" {
		return errors.NewErrorf(errors.InvalidArgument,
			"the plugin was built with -buildmode=%s: build it with -buildmode=plugin", mode)
	}
	hostInfo, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	if differences := compare(hostInfo, pluginInfo); len(differences) > 0 {
		return errors.NewErrorf(errors.FailedPrecondition,
			"the plugin and the host were built differently: %s: "+
				"rebuild the plugin with the Go version, flags and modules of the host",
			strings.Join(differences, "; "))
	}
	return nil
}
