package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// stage sets up and tears down a benchmark or the brokers. It implements [testing.TB], so that it
// can be passed to the test helpers that start brokers.
type stage struct {
	// testing.TB is nil. It is embedded only because other packages cannot implement that interface
	// otherwise. The test helpers call only methods that stage defines.
	testing.TB

	mu       sync.Mutex
	cleanups []func()
	err      error
}

// onStage runs body on a new stage and then calls the functions that body registered with Cleanup.
// If body ended the stage with check, Fatal or Fatalf, onStage returns the error.
func onStage(body func(s *stage)) error {
	s := &stage{}
	ended := make(chan struct{})
	// Fatal ends the goroutine that calls it. Therefore, body runs in a goroutine of its own.
	go func() {
		defer close(ended)
		body(s)
	}()
	<-ended
	for _, cleanup := range slices.Backward(s.cleanups) {
		cleanup()
	}
	return s.err
}

// check ends the stage with err if err is not nil. It must be called in the goroutine that runs the
// body of the stage.
func (s *stage) check(err error) {
	if err != nil {
		s.end(err)
	}
}

func (s *stage) end(err error) {
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
	runtime.Goexit()
}

// Cleanup registers f to be called when the stage ends. Functions are called in the reverse order
// of their registration.
func (s *stage) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

// Context returns the background context. A cancelable context would add a cost to each operation.
func (s *stage) Context() context.Context { return context.Background() }

// Failed reports whether the stage has ended with an error.
func (s *stage) Failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil
}

// Fatal ends the stage with an error. Like [fmt.Sprint], it builds the text of the error from args.
func (s *stage) Fatal(args ...any) { s.end(fmt.Errorf("%s", fmt.Sprint(args...))) }

// Fatalf ends the stage with the error returned by [fmt.Errorf] for the given arguments.
func (s *stage) Fatalf(format string, args ...any) { s.end(fmt.Errorf(format, args...)) }

// Helper does nothing. Test helpers call it.
func (s *stage) Helper() {}

// Log prints args to standard error.
func (s *stage) Log(args ...any) { fmt.Fprintln(os.Stderr, args...) }

// Logf prints a formatted line to standard error.
func (s *stage) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// TempDir creates a temporary directory and returns its path. The directory is removed when the
// stage ends.
func (s *stage) TempDir() string {
	dir, err := os.MkdirTemp("", "dynpsrpc-bench-")
	s.check(err)
	s.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
