// Package child makes a program a plugin that package process can run:
//
//	import _ "github.com/dynpsrpc/dynpsrpc/bus/natsbus" // the driver of the bus that the host uses
//
//	func main() {
//		child.Main(func(_ context.Context, server *dynamic.Server) error {
//			_, err := server.Register(greeter, dynamic.Handlers{"Hello": dynamic.Unary(hello)})
//			return err
//		})
//	}
//
// The program can be run by hand, too, with the URL of a bus in the environment variable DYNPSRPC_BUS; it ends with
// SIGTERM or an interrupt.
package child
