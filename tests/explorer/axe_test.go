package explorer

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// axeVersion is the version of axe-core, which checks the accessibility of pages.
const axeVersion = "4.14.0"

// axe returns the source of axe-core. The first call on a machine downloads it from npm and stores
// it in the user's cache directory.
var axe = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(cache, "dynpsrpc-testenv", "axe-core-"+axeVersion)
	file := filepath.Join(folder, "node_modules", "axe-core", "axe.min.js")
	if _, err := os.Stat(file); err != nil {
		if err := os.MkdirAll(folder, 0o750); err != nil {
			return "", err
		}
		install := exec.Command("npm", "install", "--prefix", folder, "--ignore-scripts", "--no-audit", "--no-fund", "axe-core@"+axeVersion)
		if output, err := install.CombinedOutput(); err != nil {
			return "", fmt.Errorf("npm install axe-core: %w: %s", err, output)
		}
	}
	source, err := os.ReadFile(file)
	return string(source), err
})

// violation is a rule of axe that a page violates.
type violation struct {
	ID, Help string
	Nodes    []struct {
		HTML, FailureSummary string
	}
}

func (v violation) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s: %s\n", v.ID, v.Help)
	for _, node := range v.Nodes {
		fmt.Fprintf(&text, "  %s\n    %s\n", node.HTML, strings.ReplaceAll(node.FailureSummary, "\n", "\n    "))
	}
	return text.String()
}

// isAccessible requires that axe finds no violation on a page. what names the page in the failure
// message.
func (p *page) isAccessible(what string) {
	p.t.Helper()
	source, err := axe()
	if err != nil && os.Getenv("CI") == "" {
		p.t.Skipf("axe-core is missing: %v", err)
	}
	require.NoError(p.t, err)
	if !eval[bool](p, "Boolean(globalThis.axe)") {
		eval[chromedp.Void](p, source+"; void 0")
	}
	violations := eval[[]violation](p, `axe.run(document, {resultTypes: ['violations']}).then((results) => results.violations.map((v) => ({
		ID: v.id, Help: v.help,
		Nodes: v.nodes.slice(0, 3).map((node) => ({HTML: node.html.slice(0, 300), FailureSummary: node.failureSummary})),
	})))`)
	for _, violation := range violations {
		assert.Fail(p.t, "not accessible", "%s: %s", what, violation)
	}
}
