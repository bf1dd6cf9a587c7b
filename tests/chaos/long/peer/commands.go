package main

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// readCommands reads commands from standard input and executes them:
//
//	stats     print the stats line described in report.go
//	rate N    start N operations of each kind per second; only clients accept this command
//
// setRate executes the command rate. It is nil in servers and consumers. Standard input is closed
// when the test ends. readCommands then ends the process.
func readCommands(setRate func(int)) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		command, argument, _ := strings.Cut(lines.Text(), " ")
		switch command {
		case "stats":
			reportStats()
		case "rate":
			rate, err := strconv.Atoi(argument)
			if err != nil || setRate == nil {
				reportf("done bad command %q", lines.Text())
				continue
			}
			setRate(rate)
		}
	}
	os.Exit(1)
}
