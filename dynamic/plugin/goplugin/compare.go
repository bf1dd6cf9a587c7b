package goplugin

import (
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
)

// flags are the names of build settings that must be identical in a plugin and its host, in
// addition to the settings of the target, whose names begin with GO.
var flags = []string{
	"-asan", "-asmflags", "-compiler", "-gcflags", "-msan", "-race", "-tags", "-trimpath", "CGO_ENABLED",
}

// compare describes the differences between two builds because of which a plugin cannot be loaded.
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

// orUnset returns the text for the value of a setting.
func orUnset(value string) string {
	if value == "" {
		return "not set"
	}
	return value
}

// settings returns the build settings by name.
func settings(info *debug.BuildInfo) map[string]string {
	all := map[string]string{}
	for _, setting := range info.Settings {
		all[setting.Key] = setting.Value
	}
	return all
}

// modules returns the versions and checksums of the dependencies, by path. Main modules and modules
// that are replaced by folders have no version; the runtime compares their packages.
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
