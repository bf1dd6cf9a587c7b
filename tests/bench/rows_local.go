package main

import "fmt"

// channelRows returns benchmarks in which each caller exchanges values with a goroutine of its own
// over Go channels.
func channelRows() []*row {
	var rows []*row
	for _, n := range []int{1, 16, 64} {
		rows = append(rows, &row{name: fmt.Sprintf("go-chan-pingpong/c%d", n), open: func(s *scene) load {
			return callers(perCaller(n, s.channelPingPong))
		}})
	}
	return rows
}

func (s *scene) channelPingPong(caller int) func() error {
	body := s.body(caller)
	there, back := make(chan string), make(chan string)
	s.reader(func() {
		for value := range there {
			back <- value
		}
	}, func() { close(there) })
	return func() error {
		there <- body
		if <-back != body {
			return errWrongAnswer
		}
		return nil
	}
}
