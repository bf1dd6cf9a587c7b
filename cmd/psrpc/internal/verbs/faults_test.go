//go:build tools

package verbs_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/clitest"
	"github.com/dynpsrpc/dynpsrpc/internal/testenv"
)

// faultBroker is a kind of broker on which the faults are tested.
type faultBroker struct {
	name string
	// start starts the broker. It returns the scheme of the broker's URL, such as "redis://", and
	// the broker's address.
	start func(t *testing.T) (scheme, addr string)
	// secured starts a broker that requires the password "secret" of the user "user".
	secured func(t *testing.T) (scheme, addr string)
}

var faultBrokers = []faultBroker{
	{
		"redis",
		func(t *testing.T) (string, string) { t.Helper(); return "redis://", testenv.Redis(t).Addr() },
		func(t *testing.T) (string, string) {
			t.Helper()
			return "redis://", testenv.Redis(t, "--requirepass", "secret").Addr()
		},
	},
	{
		"nats",
		func(t *testing.T) (string, string) { t.Helper(); return cutScheme(testenv.NATS(t).URL()) },
		func(t *testing.T) (string, string) {
			t.Helper()
			return cutScheme(testenv.NATS(t, func(o *server.Options) { o.Username, o.Password = "user", "secret" }).URL())
		},
	},
}

func cutScheme(url string) (scheme, addr string) {
	at := strings.Index(url, "://") + len("://")
	return url[:at], url[at:]
}

// fault is a fault of a fleet, or a mistake in the arguments that the user gives.
type fault struct {
	name string
	// start starts a fleet with the fault. It returns the arguments that name the bus.
	start func(t *testing.T, b faultBroker) (args []string)
	// silent is true if the fleet has a server that does not answer.
	silent bool
	// verbs are additional command lines to run with this fault.
	verbs []string
}

// faultVerbs are the command lines to run with each fault: one for each verb that asks a fleet.
var faultVerbs = []string{
	"list",
	"list --scan",
	"list greeting.Greeter",
	"describe greeting.Greeter",
	"call Greeter/Hello name=Ada",
	"call Greeter/All name=Ada",
	"who Greeter/Best name=Ada",
	"stats Greeter/Hello",
	"health",
	"ping",
	"events --for 4s",
	"top --once --interval 100ms Greeter/Hello",
	"log-level debug SRV_second",
	"drain SRV_second",
	"resume SRV_second",
}

var faults = []fault{
	{name: "none", start: func(t *testing.T, b faultBroker) []string {
		t.Helper()
		url := startFleet(t, b)
		startProcess(t, url, "SRV_second")
		return []string{"--bus", url}
	}},
	{name: "killed", start: func(t *testing.T, b faultBroker) []string {
		t.Helper()
		url := startFleet(t, b)
		process := startProcess(t, url, "SRV_second")
		require.NoError(t, process.Kill())
		// Wait until the broker has noticed that the connection is gone.
		require.Eventually(t, func() bool {
			return clitest.Run(t, clitest.Env{}, "", "ping", "-o", "name", "--bus", url).Stdout == "SRV_first\n"
		}, time.Minute, 10*time.Millisecond)
		return []string{"--bus", url}
	}},
	{name: "frozen", silent: true, start: func(t *testing.T, b faultBroker) []string {
		t.Helper()
		url := startFleet(t, b)
		require.NoError(t, startProcess(t, url, "SRV_second").Signal(syscall.SIGSTOP))
		return []string{"--bus", url}
	}},
	{name: "half-open", silent: true, start: func(t *testing.T, b faultBroker) []string {
		t.Helper()
		url := startFleet(t, b)
		scheme, addr := cutScheme(url)
		proxy := testenv.NewProxy(t, addr)
		startGreeter(t, scheme+proxy.Addr(), greeterOptions{id: "SRV_second", affinity: 0.75})
		proxy.BlackHoleAll()
		return []string{"--bus", url}
	}},
	{name: "draining", start: func(t *testing.T, b faultBroker) []string {
		t.Helper()
		url := startFleet(t, b)
		startGreeter(t, url, greeterOptions{id: "SRV_second", affinity: 0.75})
		require.Equal(t, 0, clitest.Run(t, clitest.Env{}, "", "drain", "SRV_second", "--bus", url).Exit)
		return []string{"--bus", url}
	}},
	{name: "versions", verbs: []string{"call Greeter/Hello name=Ada --digest 1eda2b4c"}, start: func(t *testing.T, b faultBroker) []string {
		t.Helper()
		url := startFleet(t, b)
		startGreeter(t, url, greeterOptions{id: "SRV_second", affinity: 0.75, field: "int32 age = 2;"})
		return []string{"--bus", url}
	}},
	{name: "no-schema", start: func(t *testing.T, b faultBroker) []string {
		t.Helper()
		scheme, addr := b.start(t)
		startGreeter(t, scheme+addr, greeterOptions{id: "SRV_first", silent: true})
		return []string{"--bus", scheme + addr}
	}},
	{name: "wrong-prefix", start: func(t *testing.T, b faultBroker) []string {
		t.Helper()
		return []string{"--bus", startFleet(t, b), "--prefix", "other"}
	}},
	{name: "wrong-password", start: func(t *testing.T, b faultBroker) []string {
		t.Helper()
		scheme, addr := b.secured(t)
		return []string{"--bus", scheme + "user:guess@" + addr}
	}},
	{name: "broker-down", start: func(t *testing.T, b faultBroker) []string {
		t.Helper()
		scheme, _ := b.start(t)
		proxy := testenv.NewProxy(t, "127.0.0.1:1")
		proxy.Refuse()
		return []string{"--bus", scheme + proxy.Addr()}
	}},
}

// startFleet starts a broker with one server.
func startFleet(t *testing.T, b faultBroker) (url string) {
	t.Helper()
	scheme, addr := b.start(t)
	startGreeter(t, scheme+addr, greeterOptions{id: "SRV_first", affinity: 0.5})
	return scheme + addr
}

// Each verb must say what is wrong, with an exit code that shows the cause, and must not wait for
// long. The golden files show what each verb prints for each fault.
func TestFaults_Golden(t *testing.T) {
	t.Parallel()
	for _, b := range faultBrokers {
		for _, f := range faults {
			t.Run(b.name+"/"+f.name, func(t *testing.T) {
				t.Parallel()
				bus := f.start(t, b)
				verbs := append(slices.Clone(faultVerbs), f.verbs...)
				if f.silent && b.name == "nats" {
					// NATS gives each request of a queue to any one of the servers, even to the
					// silent one. The outcome of a call is therefore random, so the call is left
					// out.
					bus = append(bus, "-p", writeGreeter(t))
					verbs = slices.DeleteFunc(verbs, func(verb string) bool { return strings.HasPrefix(verb, "call Greeter/Hello") })
				}
				var session strings.Builder
				for _, verb := range verbs {
					args := append(strings.Fields(verb), bus...)
					env := clitest.Env{Vars: map[string]string{"HOME": t.TempDir()}, DefaultWait: 4 * time.Second}
					result := clitest.Run(t, env, "", append(args, "--timeout", "4s")...)
					fmt.Fprintf(&session, "$ psrpc %s\n%s%s", verb, result.Stdout, result.Stderr)
					if result.Exit != 0 {
						fmt.Fprintf(&session, "exit %d\n", result.Exit)
					}
				}
				clitest.Golden(t, "faults/"+b.name+"-"+f.name, clitest.Result{Stdout: session.String()}, unmeasured...)
			})
		}
	}
}

// unmeasured replaces what differs between two runs on the same fleet.
var unmeasured = []func(string) string{
	clitest.Replace(`127\.0\.0\.1:[0-9]+`, "ADDRESS"),
	clitest.Replace(`\[::1\]:[0-9]+`, "ADDRESS"),
	clitest.Replace(`Hello from SRV_[a-z]+`, "Hello from SRV_ANY"),
	clitest.Replace(`(greeting.Greeter/Hello +[0-9]+ +[0-9]+ +)[0-9.<]+`, "${1}RATE"),
	clitest.Replace(`RATE +0.0 %.*`, "RATE  ..."),
	clitest.Replace(`[0-9.<]+ calls/s`, "RATE calls/s"),
	clitest.Replace(`(redis|nats) [0-9]+\.[0-9.]+`, "$1 VERSION"),
	clitest.Replace(`go[0-9.]+`, "goVERSION"),
	clitest.Replace(`[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?`, "CLOCK"),
	clitest.Replace(`[+-]?\b[0-9.]+ ?(ns|µs|ms|s)\b`, "TIME"),
	clitest.Replace(`(TIME|ADDRESS) +`, "$1  "),
	clitest.Replace(` {3,}`, "  "),
}

// TestProcess is not a test itself: startProcess runs it in another process, as a server.
func TestProcess(t *testing.T) {
	url := os.Getenv("PSRPC_TEST_BUS")
	if url == "" {
		t.Skip("other tests start a process that runs this test")
	}
	startGreeter(t, url, greeterOptions{id: os.Getenv("PSRPC_TEST_ID"), affinity: 0.75})
	fmt.Println("ready")
	// Read until the process of the test, which has started this one, ends.
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// startProcess serves greeting.Greeter in another process, which a test can kill or freeze.
func startProcess(t *testing.T, url, id string) *os.Process {
	t.Helper()
	command := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], "-test.run=^TestProcess$")
	command.Env = append(os.Environ(), "PSRPC_TEST_BUS="+url, "PSRPC_TEST_ID="+id)
	stdin, err := command.StdinPipe()
	require.NoError(t, err)
	stdout, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "ready") {
			return command.Process
		}
	}
	require.Fail(t, "the process has ended before its server was ready")
	return nil
}

// writeGreeter writes the .proto file of greeting.Greeter. It returns its path.
func writeGreeter(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "greeter.proto")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, greeterSource, ""), 0o600))
	return path
}
