//go:build chaos && unix

package long_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/dynpsrpc/dynpsrpc/tests/testkit"
)

var (
	duration = flag.Duration("duration", 30*time.Second, "how long TestSoak runs")
	seed     = flag.Uint64("seed", 0, "seed of the plans of faults; 0 selects one by the time")
)

// program is the path of the program peer, which is built from the current source.
var program string

func TestMain(m *testing.M) {
	flag.Parse()
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	testkit.Quiet()
	// This process was started by TestStoppedProcess. It does not need the program peer.
	if os.Getenv(consumerURL) != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "chaos-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "peer")
	if output, err := exec.CommandContext(context.Background(), "go", "build", "-o", program, "./peer").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building peer: %v\n%s", err, output)
		return 1
	}
	return m.Run()
}
