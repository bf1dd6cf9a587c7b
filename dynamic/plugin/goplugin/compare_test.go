package goplugin

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCompare_ListsEveryDifference(t *testing.T) {
	t.Parallel()
	folder := &debug.Module{Path: "../c"}
	host := &debug.BuildInfo{
		GoVersion: "go1.26.8", Main: debug.Module{Path: "host"},
		Deps: []*debug.Module{
			{Path: "a", Version: "v1.0.0"}, {Path: "b", Version: "v1.0.0", Sum: "h1:x"}, {Path: "c", Version: "v1.0.0", Replace: folder},
			{Path: "d", Version: "v1.0.0", Replace: &debug.Module{Path: "e", Version: "v2.0.0"}}, {Path: "only-host", Version: "v1.0.0"},
		},
		Settings: []debug.BuildSetting{
			{Key: "-buildmode", Value: "exe"}, {Key: "-trimpath", Value: "true"}, {Key: "CGO_ENABLED", Value: "1"},
			{Key: "GOAMD64", Value: "v1"}, {Key: "GOEXPERIMENT", Value: "x"}, {Key: "vcs.revision", Value: "1"},
		},
	}
	assert.Empty(t, compare(host, host))
	plugin := &debug.BuildInfo{
		GoVersion: "go1.26.1", Main: debug.Module{Path: "plugin"},
		Deps: []*debug.Module{
			{Path: "a", Version: "v1.1.0"}, {Path: "b", Version: "v1.0.0", Sum: "h1:x"}, {Path: "c", Version: "v1.5.0"},
			{Path: "d", Version: "v1.0.0"}, {Path: "only-plugin", Version: "v1.0.0"},
		},
		Settings: []debug.BuildSetting{
			{Key: "-buildmode", Value: "plugin"}, {Key: "-race", Value: "true"}, {Key: "CGO_ENABLED", Value: "1"},
			{Key: "GOAMD64", Value: "v3"}, {Key: "vcs.revision", Value: "2"},
		},
	}
	assert.Equal(t, []string{
		"the Go version is go1.26.1 in the plugin and go1.26.8 in the host",
		"-race is true in the plugin and not set in the host",
		"-trimpath is not set in the plugin and true in the host",
		"GOAMD64 is v3 in the plugin and v1 in the host",
		"GOEXPERIMENT is not set in the plugin and x in the host",
		"module a is v1.1.0 in the plugin and v1.0.0 in the host",
		"module d is v1.0.0 in the plugin and v2.0.0 in the host",
	}, compare(host, plugin))
}
