// Package child is the main function of a plugin that package process runs:
//
//	import _ "github.com/dynpsrpc/dynpsrpc/bus/natsbus" // the driver of the host's bus
//
//	func main() {
//		child.Main(func(_ context.Context, server *dynamic.Server) error {
//			_, err := server.Register(greeter, dynamic.Handlers{"Hello": dynamic.Unary(hello)})
//			return err
//		})
//	}
//
// To run the program by hand, set the environment variable DYNPSRPC_BUS to the URL of a bus. The
// program ends with SIGTERM or an interrupt.
package child
