package goplugin

import (
	"bytes"
	"debug/buildinfo"
	"os"
	"path/filepath"
	stdplugin "plugin"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// loaded is what this process has loaded, or failed to, by digest. It cannot be tried again: part of a plugin may be
// there, and the standard package would wait for ever for one whose init has panicked.
var loaded = struct {
	sync.Mutex

	results map[string]loadResult
}{results: map[string]loadResult{}}

type loadResult struct {
	services servicesFunc
	err      error
}

// open returns the function of the plugin. One at a time is loaded.
func open(source *plugin.Source) (servicesFunc, error) {
	loaded.Lock()
	defer loaded.Unlock()
	if r, done := loaded.results[source.Digest]; done {
		return r.services, r.err
	}
	if err := checkBuild(source.Content); err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "dynpsrpc-plugin-*")
	if err != nil {
		return nil, errors.NewErrorf(errors.Internal, "no private copy can be made: %w", err)
	}
	defer os.RemoveAll(folder) //nolint:errcheck // it stays mapped; that a file is left does no harm
	path := filepath.Join(folder, source.Digest+".so")
	if err := os.WriteFile(path, source.Content, 0o600); err != nil {
		return nil, errors.NewErrorf(errors.Internal, "no private copy can be made: %w", err)
	}
	services, err := openFile(path)
	loaded.results[source.Digest] = loadResult{services, err}
	return services, err
}

// openFile loads a shared object and finds its function.
func openFile(path string) (services servicesFunc, err error) {
	err = guard("its init", func() error {
		p, err := stdplugin.Open(path)
		if err != nil {
			return withAdvice(err)
		}
		found, err := p.Lookup(symbol)
		if err != nil {
			return errors.NewErrorf(errors.FailedPrecondition,
				"it exports no %s: it must have func %s() ([]plugin.Service, error)", symbol, symbol)
		}
		var ok bool
		if services, ok = found.(servicesFunc); !ok {
			return errors.NewErrorf(errors.FailedPrecondition, "its %s is a %T, and must be a %T", symbol, found, services)
		}
		return nil
	})
	return services, err
}

// withAdvice adds what to do. The standard package has texts only.
func withAdvice(err error) error {
	advice := "build it again, exactly as its host is built"
	if strings.Contains(err.Error(), "plugin already loaded") {
		advice = "another version of it is loaded, with the same plugin path: name the files of its package " +
			"when you build it, as in go build -buildmode=plugin -o greeter.so ./greeter/*.go, and each version has one of its own"
	}
	return errors.NewErrorf(errors.FailedPrecondition, "%w: %s", err, advice)
}

// checkBuild says how a plugin was built otherwise than this program.
func checkBuild(content []byte) error {
	pluginInfo, err := buildinfo.Read(bytes.NewReader(content))
	if err != nil {
		return errors.NewErrorf(errors.InvalidArgument, "it is not a Go plugin, or not a whole one: %w", err)
	}
	if mode := settings(pluginInfo)["-buildmode"]; mode != "plugin" {
		return errors.NewErrorf(errors.InvalidArgument, "it was built with -buildmode=%s: build it with -buildmode=plugin", mode)
	}
	hostInfo, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	if differences := compare(hostInfo, pluginInfo); len(differences) > 0 {
		return errors.NewErrorf(errors.FailedPrecondition,
			"it was built otherwise than its host: %s: build it again with the Go version, the flags and the modules of the host",
			strings.Join(differences, "; "))
	}
	return nil
}
