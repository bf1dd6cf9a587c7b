package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"

	"github.com/dynpsrpc/dynpsrpc/tests/bench/plugins/echo"
)

// guests lists the plugins. The source code of each plugin is in the subdirectory that has the name
// of the plugin.
var guests = []struct {
	name, service, loader, mode string
	env                         []string
}{
	{"native", "echo.Native", "go", "plugin", nil},
	{"sandboxed", "echo.Proto", "wasm", "c-shared", []string{"GOOS=wasip1", "GOARCH=wasm"}},
	{"bytes", "echo.Bytes", "wasm", "c-shared", []string{"GOOS=wasip1", "GOARCH=wasm"}},
	{"separate", "echo.Separate", "process", "exe", nil},
}

// buildGuests builds each plugin in a separate folder below root and returns the paths of these
// folders.
func buildGuests(ctx context.Context, root string) (folders []string, err error) {
	source, err := echo.Files.ReadFile(echo.FileName)
	if err != nil {
		return nil, err
	}
	for _, guest := range guests {
		folder := filepath.Join(root, guest.name)
		if err := os.Mkdir(folder, 0o750); err != nil {
			return nil, err
		}
		command := exec.CommandContext(ctx, "go", "build", "-buildmode="+guest.mode, "-o", //nolint:gosec // the arguments are not user input
			filepath.Join(folder, "code"), "./plugins/"+guest.name)
		command.Env = append(os.Environ(), guest.env...)
		if output, err := command.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w (run this in the folder tests/bench)\n%s", guest.name, err, output)
		}
		manifest, err := json.Marshal(plugin.Manifest{
			Name: guest.name, Version: "1", Loader: guest.loader, Code: "code",
			Descriptors: echo.FileName, Services: []string{guest.service},
		})
		if err != nil {
			return nil, err
		}
		for name, content := range map[string][]byte{echo.FileName: source, plugin.ManifestName: manifest} {
			if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
				return nil, err
			}
		}
		folders = append(folders, folder)
	}
	return folders, nil
}
