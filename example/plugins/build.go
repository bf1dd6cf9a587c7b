package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/example/plugins/greetings"
)

// sources is the import path of the folder that contains a folder with the source of each plugin.
const sources = "github.com/dynpsrpc/dynpsrpc/example/plugins"

// kind describes how one kind of plugin is built and loaded.
type kind struct {
	name, service string
	loader, code  string
	buildMode     string
	flags, env    []string
}

var kinds = []kind{
	{name: "native", service: "example.plugins.Native", loader: "go", code: "native.so", buildMode: "plugin"},
	{
		name: "sandboxed", service: "example.plugins.Sandboxed", loader: "wasm", code: "sandboxed.wasm",
		// GOFLAGS may enable the race detector, which does not exist for WebAssembly.
		buildMode: "c-shared", flags: []string{"-race=false"}, env: []string{"GOOS=wasip1", "GOARCH=wasm"},
	},
	{name: "separate", service: "example.plugins.Separate", loader: "process", code: "separate", buildMode: "exe"},
}

// buildAll builds two versions of each plugin in subdirectories of folder.
func buildAll(ctx context.Context, folder string) error {
	listed, err := runCommand(ctx, nil, "go", "list", "-f", "{{.Dir}}", sources)
	if err != nil {
		return err
	}
	for _, k := range kinds {
		source := filepath.Join(strings.TrimSpace(listed), k.name)
		for _, version := range []string{"1", "2"} {
			if err := k.makeFolder(ctx, source, filepath.Join(folder, version, k.name), version); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeFolder creates the folder for one version of a plugin, whose source is in the folder source.
// The new folder contains the code, the descriptors and the manifest.
func (k kind) makeFolder(ctx context.Context, source, folder, version string) error {
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return err
	}
	if err := k.compile(ctx, source, folder, version); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, greetings.FileName), greetings.Source(), 0o600); err != nil {
		return err
	}
	manifest, err := json.Marshal(plugin.Manifest{
		Name: k.name, Version: version, Loader: k.loader, Code: k.code,
		Descriptors: greetings.FileName, Services: []string{k.service},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, plugin.ManifestName), manifest, 0o600)
}

// compile builds one version of a plugin. It uses an overlay to replace version.go.
//
// The two versions need different package paths, because a process cannot load two Go plugins with
// the same package path. compile therefore passes the names of the source files to go build instead
// of the name of the package. go build then derives the package path from the content of the files.
func (k kind) compile(ctx context.Context, source, folder, version string) error {
	versionFile, overlayFile := filepath.Join(folder, "version.go.txt"), filepath.Join(folder, "overlay.json")
	overlay, err := json.Marshal(map[string]any{
		"Replace": map[string]string{filepath.Join(source, "version.go"): versionFile},
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(versionFile, []byte("package main\n\nconst version = \""+version+"\"\n"), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		return err
	}
	args := slices.Concat([]string{"build", "-buildmode=" + k.buildMode, "-overlay=" + overlayFile, "-o", filepath.Join(folder, k.code)},
		k.flags, []string{filepath.Join(source, "main.go"), filepath.Join(source, "version.go")})
	_, err = runCommand(ctx, k.env, "go", args...)
	return err
}

// runCommand runs a command with additional environment variables and returns its combined output.
func runCommand(ctx context.Context, env []string, name string, args ...string) (output string, err error) {
	command := exec.CommandContext(ctx, name, args...) //nolint:gosec // the arguments are constants and paths of this program
	command.Env = append(os.Environ(), env...)
	combined, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", command, err, combined)
	}
	return string(combined), nil
}
