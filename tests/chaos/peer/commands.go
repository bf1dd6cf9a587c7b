package main

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

// readCommands carries out the commands that arrive on the standard input:
//
//	stats     report the stats of the process
//	rate N    make N attempts of each kind in a second; only clients know it
//
// setRate is nil for the other roles. When the input ends, so has the test: readCommands then ends
// the process. Otherwise it reads until the process ends, because a read cannot be interrupted.
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
