package goplugin

import (
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
)

// flags lists build settings that must be the same in a plugin and its host. Settings whose names
// begin with GO, such as GOARCH, are not listed, because compare always checks them.
var flags = []string{
	"-asan", "-asmflags", "-compiler", "-gcflags", "-msan", "-race", "-tags", "-trimpath", "CGO_ENABLED",
}

// compare describes the differences between the builds of a plugin and its host. If there are any,
// the plugin must not be loaded.
func compare(host, plugin *debug.BuildInfo) (differences []string) {
	compareValue := func(what, inPlugin, inHost string) {
		if inPlugin != inHost {
			differences = append(differences,
				fmt.Sprintf("%s is %s in the plugin and %s in the host", what, orUnset(inPlugin), orUnset(inHost)))
		}
	}
	compareValue("the Go version", plugin.GoVersion, host.GoVersion)
	hostSettings, pluginSettings := settings(host), settings(plugin)
	names := slices.Clone(flags)
	for _, name := range slices.Concat(slices.Collect(maps.Keys(hostSettings)), slices.Collect(maps.Keys(pluginSettings))) {
		if strings.HasPrefix(name, "GO") {
			names = append(names, name)
		}
	}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		compareValue(name, pluginSettings[name], hostSettings[name])
	}
	hostModules, pluginModules := modules(host), modules(plugin)
	for _, path := range slices.Sorted(maps.Keys(pluginModules)) {
		if version, both := hostModules[path]; both {
			compareValue("module "+path, pluginModules[path], version)
		}
	}
	return differences
}

// orUnset returns value, or "not set" if value is empty.
func orUnset(value string) string {
	if value == "" {
		return "not set"
	}
	return value
}

// settings returns the build settings of info, keyed by name.
func settings(info *debug.BuildInfo) map[string]string {
	all := map[string]string{}
	for _, setting := range info.Settings {
		all[setting.Key] = setting.Value
	}
	return all
}

// modules returns the versions and checksums of the dependencies of info, keyed by module path. It
// omits main modules and modules that are replaced by local folders. These modules have no version
// that could be compared here. However, the Go runtime compares their packages when it loads the
// plugin.
func modules(info *debug.BuildInfo) map[string]string {
	all := map[string]string{}
	for _, module := range info.Deps {
		used := module
		if used.Replace != nil {
			used = used.Replace
		}
		if used.Version != "" && used.Version != "(devel)" {
			all[module.Path] = strings.TrimSuffix(used.Version+" "+used.Sum, " ")
		}
	}
	return all
}
