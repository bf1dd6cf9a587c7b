// Package process runs plugins that are executables. A plugin process has its own connection to the
// bus, like any other server. The host starts the process, restarts it when it exits, and stops it.
// The name of the loader is "process".
//
// The code of such a plugin is a program in any language, or a script that begins with #!. Programs
// written in Go can use package child, which implements the rules below. The process must be
// trusted with everything that the host's user is allowed to do. The manifest must not set limits,
// because the loader cannot enforce them; otherwise the plugin cannot be loaded.
//
// # Environment
//
// The process runs a private copy of the executable. It has its own working directory and its own
// process group. It receives the arguments listed in the manifest. Its environment contains the
// variables set in the manifest, the variables named with [WithInheritedEnv], and PATH, HOME,
// TMPDIR, LANG, LC_ALL, TZ, SSL_CERT_FILE and SSL_CERT_DIR from the host. The loader adds the
// following variables:
//
//   - DYNPSRPC_BUS, the URL of the bus. The URL may contain a password, so other users of the
//     system must not be able to read the environment of the process. On Linux, they cannot.
//   - DYNPSRPC_ABI, the version of these rules, which is 1.
//   - DYNPSRPC_PLUGIN, DYNPSRPC_VERSION and DYNPSRPC_FOLDER, which are the plugin's name, its
//     version and the path of its folder.
//   - DYNPSRPC_INSTANCE, by which the host finds the descendants of the process; see below.
//
// # Protocol
//
// When all its services are reachable on the bus, the process writes one line to standard output:
//
//	{"dynpsrpc_ready":1,"services":[{"name":"greeting.Greeter","wire_name":"Greeter","methods":["Hello"]}]}
//
// The wire_name field is optional. The services and methods must match those in the manifest and
// the descriptors. All other output, including standard error, is written to the host's log,
// limited to 4 KiB per line and 200 lines per second.
//
// The process must stop when its standard input is closed or when it receives SIGTERM. It must then
// accept no new requests, finish the requests that it has already received, and exit. Standard
// input is closed when the host stops the process and when the host dies. If the process does not
// exit within the drain timeout, its process group is killed. On Linux, the kernel also kills the
// process when the host dies.
//
// # Descendants
//
// On Linux, when the process has ended, the host kills the other processes of its process group. It
// also kills all processes that have inherited the variable DYNPSRPC_INSTANCE, whatever their
// group, session or parent is. A descendant that is meant to outlive the plugin must be started in
// a session of its own and without that variable.
//
// For each plugin, there is also a shell that watches the host. If the host is killed, the shell
// kills the same processes and deletes the private copy of the executable. On other Unix systems,
// the shell kills only the process group. If there is no /bin/sh, the next loader with the same
// directory cleans up; see [NewLoader].
//
// # Restarts
//
// If the process exits although the host has not stopped it, the plugin becomes degraded (see
// plugin.Degraded) and the process is restarted. The delay before the first restart is 100
// milliseconds. It doubles with each restart, up to 30 seconds, and includes jitter. When a process
// has run for at least 10 seconds, the delay is reset. Use [WithBackoff] to change the delays.
//
// # Ordering
//
// While one version replaces another, both versions serve for a short time. No request is lost, but
// responses may come from either version, and both versions respond to requests that are sent to
// all servers.
package process
