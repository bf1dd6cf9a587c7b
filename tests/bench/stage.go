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

// stage sets up and tears down a row or the brokers. It implements [testing.TB] for the test
// helpers that start brokers.
type stage struct {
	testing.TB // nil: the helpers only use the methods below

	mu       sync.Mutex
	cleanups []func()
	err      error
}

// onStage runs body, which may end early with Fatal, and then its Cleanup functions. It returns the
// error that was given to Fatal.
func onStage(body func(s *stage)) error {
	s := &stage{}
	ended := make(chan struct{})
	go func() { // waited for below; a separate goroutine, because Fatal exits it
		defer close(ended)
		body(s)
	}()
	<-ended
	for _, cleanup := range slices.Backward(s.cleanups) {
		cleanup()
	}
	return s.err
}

// check calls Fatal unless err is nil.
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

// Cleanup registers f to be called when the stage ends, in reverse order of registration.
func (s *stage) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

// Context returns the background context, so that operations do not pay for parent contexts.
func (s *stage) Context() context.Context { return context.Background() }

// Failed reports whether the stage was ended by an error.
func (s *stage) Failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil
}

// Fatal ends the stage.
func (s *stage) Fatal(args ...any) { s.end(fmt.Errorf("%s", fmt.Sprint(args...))) }

// Fatalf ends the stage.
func (s *stage) Fatalf(format string, args ...any) { s.end(fmt.Errorf(format, args...)) }

// Helper does nothing.
func (s *stage) Helper() {}

// Log prints to standard error.
func (s *stage) Log(args ...any) { fmt.Fprintln(os.Stderr, args...) }

// Logf prints to standard error.
func (s *stage) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// TempDir returns a new directory that is removed with the stage.
func (s *stage) TempDir() string {
	dir, err := os.MkdirTemp("", "dynpsrpc-bench-")
	s.check(err)
	s.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
