package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// brokerArgument is the command line argument that makes this program run as a NATS server. The
// benchmark starts itself with this argument, so that the broker is a separate process, as it would
// be in production.
const brokerArgument = "broker"

// startBroker starts a NATS server in a separate process and returns its URL. The server listens on
// a loopback port. The function that stops the server is added to cleanups.
func startBroker(ctx context.Context, cleanups *cleanups) (url string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, self, brokerArgument) //nolint:gosec // runs this program itself
	command.Stderr = os.Stderr
	input, err := command.StdinPipe()
	if err != nil {
		return "", err
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := command.Start(); err != nil {
		return "", err
	}
	cleanups.add(func() error { return errors.Join(input.Close(), command.Wait()) })
	url, err = bufio.NewReader(output).ReadString('\n')
	return strings.TrimSpace(url), err
}

// serveAsBroker runs a NATS server until standard input is closed. It prints the server's URL once
// the server is ready.
func serveAsBroker() error {
	broker, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true})
	if err != nil {
		return err
	}
	broker.Start()
	defer broker.WaitForShutdown()
	defer broker.Shutdown()
	if !broker.ReadyForConnections(10 * time.Second) {
		return errors.New("the NATS server does not start")
	}
	fmt.Println(broker.ClientURL())
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
