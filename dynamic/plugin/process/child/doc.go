// Package child provides the main function of a plugin that is run by package process:
//
//	import _ "github.com/dynpsrpc/dynpsrpc/bus/natsbus" // registers the driver for the host's bus
//
//	func main() {
//		child.Main(func(_ context.Context, server *dynamic.Server) error {
//			_, err := server.Register(greeter, dynamic.Handlers{"Hello": dynamic.Unary(hello)})
//			return err
//		})
//	}
//
// To run the program without a host, set the environment variable DYNPSRPC_BUS to the URL of a bus.
// The program exits when it receives SIGTERM or an interrupt.
package child
