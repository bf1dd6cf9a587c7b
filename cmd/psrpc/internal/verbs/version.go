package verbs

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/dynamic"
)

// version is the output of the verb version in the format json.
type version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func newVersion(a *app.App) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			v := version{Version: dynamic.Version, Commit: commit(), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
			if a.Format() == app.FormatJSON {
				return a.JSON(v)
			}
			text := "psrpc " + v.Version
			if v.Commit != "" {
				text += " " + v.Commit
			}
			return a.Printf("%s %s %s/%s\n", text, v.Go, v.OS, v.Arch)
		},
	}
}

// commit returns the commit from which the program was built, or "" if it is not known.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value[:min(len(setting.Value), 12)]
		}
	}
	return ""
}
