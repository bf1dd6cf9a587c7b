// Command psrpc shows, calls and watches the services on a bus.
//
//	go install github.com/dynpsrpc/dynpsrpc/cmd/psrpc@latest
//	psrpc up &
//	psrpc call Greeter/Hello name=Ada
//
// The command psrpc help lists what else it does. docs/cli.md describes every subcommand and flag.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/app"
	"github.com/dynpsrpc/dynpsrpc/cmd/psrpc/internal/verbs"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first signal, the running subcommand can still end in an orderly way. A second
	// signal kills the process, because stop restores the default behavior.
	context.AfterFunc(ctx, stop)
	return verbs.Run(ctx, app.New(), os.Args[1:])
}
