// Package process runs plugins that are executables. A process serves on the bus itself, like any
// other server; the host starts it, restarts it when it exits, and stops it. The loader's name is
// "process".
//
// The code of such a plugin is a program, or a script that begins with #!, in any language. Go
// programs use package child, which implements the rules below. The process must be trusted with
// everything that the host's user may do. Limits in the manifest are an error, because the loader
// cannot enforce them.
//
// # Environment
//
// The process runs a private copy of the executable, in a folder and a process group of its own. It
// gets the arguments of the manifest and these environment variables: those of the manifest; PATH,
// HOME, TMPDIR, LANG, LC_ALL, TZ, SSL_CERT_FILE and SSL_CERT_DIR of the host; those that
// [WithInheritedEnv] names; and
//
//   - DYNPSRPC_BUS, the URL of the bus. It may contain a password, so other users of the system
//     must not be able to read the environment of the process; on Linux they cannot.
//   - DYNPSRPC_ABI, the version of these rules, which is 1.
//   - DYNPSRPC_PLUGIN, DYNPSRPC_VERSION and DYNPSRPC_FOLDER, the name and the version of the
//     plugin, and the path of its folder.
//
// # Protocol
//
// When all its services are reachable on the bus, the process writes one line to standard output:
//
//	{"dynpsrpc_ready":1,"services":[{"name":"greeting.Greeter","wire_name":"Greeter","methods":["Hello"]}]}
//
// The field wire_name is optional. The services and methods must be those of the manifest and the
// descriptors. All other output of the process, standard error included, goes to the host's log: at
// most 4 KiB of a line, and 200 lines a second.
//
// The process must stop accepting requests, finish those that it has received, and exit when its
// standard input ends or when it receives SIGTERM. The input ends when the host stops the process,
// and when the host dies. If the process does not exit before the drain timeout, its process group
// is killed. On Linux, the kernel also kills the process when the host dies.
//
// # Restarts
//
// When the process exits unasked, its plugin becomes degraded (see plugin.Degraded) and the process
// is started again: after 100 ms, then after twice as long each time, up to 30 s, with jitter. A
// process that has run for 10 s resets the delay. See [WithBackoff].
//
// # Ordering
//
// While one version replaces another, both serve for a moment. No request is lost, but answers of
// both versions may alternate, and requests that go to all servers are answered by both.
package process
