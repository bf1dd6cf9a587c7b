//go:build linux

package process_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin"
	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/process"
)

// descendants is a shell script that starts six descendants in different ways. Each appends its
// process ID to the file $pids.
const descendants = `
start='echo $$ >>"$pids"; exec sleep 1000'
export start
sh -c "$start" &
sh -c "trap '' TERM HUP; $start" &
setsid sh -c "$start" &
sh -c 'sh -c "$start" &'
setsid sh -c 'setsid sh -c "$start" & exit'
(cd / && setsid sh -c "trap '' TERM HUP; $start" >/dev/null 2>&1 </dev/null) &
while [ "$(wc -l <"$pids")" -lt 6 ]; do sleep 0.01; done
`

// awaitDescendants waits until a file contains the process IDs of six descendants, and returns
// them.
func awaitDescendants(t *testing.T, file string) (pids []int) {
	t.Helper()
	require.Eventually(t, func() bool {
		content, err := os.ReadFile(file)
		pids = nil
		for field := range strings.FieldsSeq(string(content)) {
			pid, err := strconv.Atoi(field)
			require.NoError(t, err)
			pids = append(pids, pid)
		}
		return err == nil && len(pids) == 6
	}, waitTimeout, time.Millisecond)
	for _, pid := range pids {
		require.False(t, hasExited(pid))
	}
	return pids
}

func requireExited(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		assert.Eventually(t, func() bool { return hasExited(pid) }, waitTimeout, time.Millisecond, "descendant %d is still running", pid)
	}
}

func TestLoader_DescendantsEndWithTheirProcess(t *testing.T) {
	t.Parallel()
	const waits = "while :; do sleep 0.01; [ -e \"$pids.exit\" ] && rm \"$pids.exit\" && exit 3; done"
	for name, end := range map[string]func(f *fleet, file string){
		"unloaded": func(f *fleet, _ string) {
			require.NoError(f, f.host.Unload(f.Context(), "greeter"))
		},
		"killed at the deadline": func(f *fleet, _ string) {
			ctx, cancel := context.WithCancel(f.Context())
			cancel()
			require.Error(f, f.host.Unload(ctx, "greeter"))
		},
		"replaced": func(f *fleet, _ string) {
			require.NoError(f, f.host.Load(f.Context(), f.script("v2", ready+"cat")))
			f.event(plugin.Replaced)
		},
		"exited": func(f *fleet, file string) {
			require.NoError(f, os.Rename(file, file+".exit"))
			f.event(plugin.Degraded)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			file := filepath.Join(f.root, "pids")
			require.NoError(t, f.host.Load(t.Context(), f.script("v1", "pids='"+file+"'\nexport pids\n"+descendants+ready+waits)))
			f.event(plugin.Loaded)
			pids := awaitDescendants(t, file)
			end(f, file)
			requireExited(t, pids)
		})
	}
}

func TestLoader_ADescendantCanLeaveThePlugin(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	file := filepath.Join(f.root, "pid")
	require.NoError(t, f.host.Load(t.Context(), f.script("v1",
		"env -u DYNPSRPC_INSTANCE setsid sh -c 'echo $$ >\""+file+"\"; exec sleep 1000' >/dev/null 2>&1 </dev/null &\n"+
			"while ! [ -s '"+file+"' ]; do sleep 0.01; done\n"+ready+"cat")))
	require.NoError(t, f.host.Unload(t.Context(), "greeter"))
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	require.NoError(t, err)
	assert.False(t, hasExited(pid))
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
}

// startHost starts a host in another process, and returns when its plugin is ready.
func startHost(t *testing.T, folder, copies string) *exec.Cmd {
	t.Helper()
	binary, err := os.Executable()
	require.NoError(t, err)
	host := exec.CommandContext(t.Context(), binary)
	host.Env = append(os.Environ(), "TEST_HOST="+folder, "TMPDIR="+copies)
	output, err := host.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, host.Start())
	for lines := bufio.NewScanner(output); lines.Scan(); {
		if strings.Contains(lines.Text(), "plugin is ready") {
			return host
		}
	}
	require.Fail(t, "the host has ended")
	return nil
}

func requireFolders(t *testing.T, directory string, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		entries, err := os.ReadDir(directory)
		return err == nil && len(entries) == n
	}, waitTimeout, time.Millisecond, "not %d private copies", n)
}

func TestLoader_DescendantsEndWithAKilledHost(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	copies, file := t.TempDir(), filepath.Join(f.root, "pids")
	host := startHost(t, f.script("v1", "pids='"+file+"'\nexport pids\n"+descendants+ready+"echo plugin is ready\ncat"), copies)
	pids := awaitDescendants(t, file)
	requireFolders(t, copies, 1)
	require.NoError(t, host.Process.Kill())
	require.Error(t, host.Wait())
	requireExited(t, pids)
	requireFolders(t, copies, 0)
}

// A guardian process cleans up when a host is killed. If the guardian is killed as well, the next
// loader stops the host's descendants and removes its copy of the plugin.
func TestNewLoader_CleansUpAfterKilledHosts(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	copies, file := t.TempDir(), filepath.Join(f.root, "pids")
	require.NoError(t, os.WriteFile(filepath.Join(copies, "dynpsrpc-plugin-file"), nil, 0o600))
	// The loader must keep this folder, because the folder may belong to a host that is still
	// running.
	require.NoError(t, os.Mkdir(filepath.Join(copies, "dynpsrpc-plugin-older"), 0o700))
	living := startHost(t, f.script("v1", ready+"echo plugin is ready\ncat"), copies)
	killed := startHost(t, f.script("v2", "pids='"+file+"'\nexport pids\n"+descendants+ready+"echo plugin is ready\ncat"), copies)
	pids := awaitDescendants(t, file)
	killGuardians(t, killed.Process.Pid)
	require.NoError(t, killed.Process.Kill())
	require.Error(t, killed.Wait())
	requireFolders(t, copies, 4)

	_, err := process.NewLoader("nats://unused", process.WithDirectory(copies))
	require.NoError(t, err)
	requireFolders(t, copies, 3)
	requireExited(t, pids)
	require.NoError(t, living.Process.Kill())
	require.Error(t, living.Wait())
	requireFolders(t, copies, 2) // the guardian of the other host removes its copy
}

// killGuardians kills the guardian process of a host: a shell that cleans up after the host's
// plugin.
func killGuardians(t *testing.T, host int) {
	t.Helper()
	children, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	killed := 0
	for _, file := range children {
		folder := filepath.Dir(file)
		arguments, _ := os.ReadFile(file)
		status, _ := os.ReadFile(filepath.Join(folder, "status"))
		if strings.Contains(string(arguments), "dynpsrpc-guardian") && strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", host)) {
			pid, err := strconv.Atoi(filepath.Base(folder))
			require.NoError(t, err)
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
			killed++
		}
	}
	require.Equal(t, 1, killed)
}

func TestLoader_NamesANoexecFolder(t *testing.T) {
	t.Parallel()
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", unix.MS_NOEXEC, ""); err != nil {
		t.Skip("cannot mount a file system: " + err.Error())
	}
	// The unmount is repeated, because a process that another test starts at the same time may
	// briefly hold a file of the mount.
	defer func() {
		require.Eventually(t, func() bool { return unix.Unmount(mount, 0) == nil }, waitTimeout, time.Millisecond)
	}()
	f := newFleet(t, process.WithDirectory(mount))
	for _, folder := range []string{f.script("v1", ready), f.program("v2")} {
		err := f.host.Load(t.Context(), folder)
		require.ErrorContains(t, err, "the folder of private copies, "+mount+", is mounted noexec: set another folder with WithDirectory")
	}
	entries, err := os.ReadDir(mount)
	require.NoError(t, err)
	assert.Empty(t, entries)
}
