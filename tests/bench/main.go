package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// settings holds the values of the command line flags.
type settings struct {
	// rows, buses and sizes are regular expressions that select the benchmarks to run.
	rows, buses, sizes string
	rivals, limits     bool
	list               bool
	rounds             int
	perRow             time.Duration
	json, from, plots  string
	profiles           profiles
	// tool is the path of psrpc, with which this program is compared.
	tool string
	// drive is the key of the benchmark whose callers run in this process. url is the URL of its
	// bus. Both are set only in processes that were started because of the flag -tool.
	drive, url string
}

func main() {
	var s settings
	flag.StringVar(&s.rows, "run", "", "run only the rows whose names (bus/size/operation/callers) match this `regexp`")
	flag.StringVar(&s.buses, "bus", "", "run only rows on the buses (local, nats, redis) that match this `regexp`")
	flag.StringVar(&s.sizes, "size", "", "run only rows with message sizes (64B, 16KiB, 10KB-nested) that match this `regexp`")
	flag.BoolVar(&s.rivals, "rivals", false, "run only rows that psrpc can run too, and run each of them with psrpc as well")
	flag.BoolVar(&s.limits, "limits", true, "also run the rows that the selected rows are compared to")
	flag.BoolVar(&s.list, "list", false, "list the selected rows instead of running them")
	flag.IntVar(&s.rounds, "rounds", 5, "number of rounds; each row runs once in each round")
	flag.DurationVar(&s.perRow, "time", time.Second, "how long each row runs in each round")
	flag.StringVar(&s.json, "json", "", "write the results of all rounds and the medians to this `file`")
	flag.StringVar(&s.from, "from", "", "read the results from a `file` written by -json instead of running the rows")
	flag.StringVar(&s.plots, "plot", "", "write charts of the results to SVG files in this `directory`")
	flag.StringVar(&s.profiles.cpu, "cpuprofile", "", "write a CPU profile of each row in the last round to this `directory`")
	flag.StringVar(&s.profiles.mem, "memprofile", "",
		"write allocation profiles from before and after each row to this `directory`; compare them with go tool pprof -base")
	flag.StringVar(&s.tool, "tool", "", "compare this program with the bench of psrpc, the program at this `path`, in the rows that both can run")
	flag.StringVar(&s.drive, "drive", "", "used by -tool: run the callers of the row with this `name`")
	flag.StringVar(&s.url, "url", "", "used by -tool: the `URL` of the bus for -drive")
	flag.Parse()
	if err := run(&s); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(s *settings) error {
	switch {
	case s.drive != "":
		return drive(s)
	case s.tool != "":
		return compareWithTool(s)
	}
	rows, err := s.choose(allRows(s.rivals))
	if err != nil {
		return err
	}
	if s.list {
		for _, r := range rows {
			fmt.Println(r.key())
		}
		return nil
	}
	if err := s.profiles.prepare(); err != nil {
		return err
	}
	all, err := s.results(rows)
	if err != nil {
		return err
	}
	fmt.Print(all.markdown())
	if s.json != "" {
		if err := all.write(s.json); err != nil {
			return err
		}
	}
	if s.plots != "" {
		if err := all.plot(s.plots); err != nil {
			return err
		}
	}
	return all.failure()
}

func (s *settings) results(rows []*row) (*results, error) {
	if s.from != "" {
		return readResults(s.from)
	}
	all := newResults(rows, s.perRow)
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := onStage(func(stage *stage) {
		brokers := startBrokers(stage, rows)
		for round := range s.rounds {
			for i, r := range all.Rows {
				if interrupted.Err() != nil {
					return
				}
				fmt.Fprintf(os.Stderr, "\rround %d of %d, row %d of %d: %-60s", round+1, s.rounds, i+1, len(rows), r.row.key())
				m, err := measureRow(r.row, brokers, s.perRow, s.profiles)
				r.add(m, err)
			}
		}
		fmt.Fprintln(os.Stderr)
	})
	all.summarize()
	return all, err
}

// choose returns the benchmarks selected by the flags. With -limits, it adds the benchmarks to
// which these are compared. With -rivals, it omits the benchmarks that psrpc cannot run. For each
// of the others, it adds the benchmark of psrpc.
func (s *settings) choose(rows []*row) ([]*row, error) {
	name, err := regexp.Compile(s.rows)
	bus, busErr := regexp.Compile(s.buses)
	size, sizeErr := regexp.Compile(s.sizes)
	if err := errors.Join(err, busErr, sizeErr); err != nil {
		return nil, err
	}
	chosen := map[string]bool{}
	for _, r := range rows {
		if !name.MatchString(r.key()) || !bus.MatchString(r.bus) || !size.MatchString(r.size.name) {
			continue
		}
		if s.rivals && r.rival == nil {
			continue
		}
		chosen[r.key()] = true
		for _, limit := range r.limits {
			chosen[r.keyOf(limit)] = chosen[r.keyOf(limit)] || s.limits || s.rivals && limit == rivalName(r.name)
		}
	}
	rows = slices.DeleteFunc(rows, func(r *row) bool { return !chosen[r.key()] })
	if len(rows) == 0 {
		return nil, errors.New("no such rows: -list lists all")
	}
	return rows, nil
}
