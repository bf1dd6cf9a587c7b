// Package process runs plugins that are executables: they serve on the bus by themselves, as any server does, and the
// host starts them, looks after them and ends them. Their loader is called "process".
//
// The code of such a plugin is a program, or a script that begins with #!. It can be written in any language; for Go
// there is package child, with which it takes a few lines. Starting it is trusting it with all that the user of the host
// may do. The limits of the manifest cannot be kept, and are an error.
//
// # What the process gets
//
// It is started from a private copy, in a folder and a process group of its own, with the arguments of the manifest and
// this environment: what the manifest says; PATH, HOME, TMPDIR, LANG, LC_ALL, TZ, SSL_CERT_FILE and SSL_CERT_DIR of the
// host, and what [WithInheritedEnv] names; and
//
//   - DYNPSRPC_BUS, the URL of the bus, which may hold a password: other users of the system must not see it, and do
//     not on Linux;
//   - DYNPSRPC_ABI, the version of these rules, which is 1;
//   - DYNPSRPC_PLUGIN, DYNPSRPC_VERSION and DYNPSRPC_FOLDER: the name and the version of the plugin, and its folder.
//
// # What it does
//
// When all its services can be reached, it writes a line to its standard output, and nothing else on that line:
//
//	{"dynpsrpc_ready":1,"services":[{"name":"greeting.Greeter","wire_name":"Greeter","methods":["Hello"]}]}
//
// The wire name may be left out. What the line says must be what the manifest says. All other lines of its standard
// output and its standard error go to the log of the host: 4 KiB of each line, 200 lines a second.
//
// When its standard input ends, or it gets SIGTERM, it takes no more requests, finishes those that it has, and exits. The
// input ends when the host wants it to stop, and when the host is gone. If it does not exit before the host's patience
// ends, its group is killed; on Linux it is killed when the host dies.
//
// # When it ends too early
//
// An exit that was not asked for is told to the host (see plugin.Degraded), and the process is started again: after 100
// ms, and then after twice as long each time, up to 30 s, with jitter, until it has been up for 10 s.
//
// While one version replaces another both serve for a moment: no request is lost, but requests to all servers are
// answered by both.
package process
