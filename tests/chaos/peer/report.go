package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// These are the lines that the program reports:
//
//	ready                                          the process serves, consumes or may be given a rate
//	ran KIND ID TIME                               a handler begins, or a stream or consumer receives a message
//	ended KIND ID BEGUN ENDED CODE REASON          an attempt of a client has ended
//	idle                                           a client that was given the rate 0 has no attempt left
//	stats GOROUTINES DESCRIPTORS HEAP              answer to the command stats; HEAP is in bytes
//	done ERROR                                     the process has ended gracefully; ERROR is <nil>, or else what failed
//
// Times are in nanoseconds since 1970. CODE and REASON are "-" if there are none.

var reportLock sync.Mutex

// reportf writes a line at once, so that a killed process has reported all that it did.
func reportf(format string, args ...any) {
	reportLock.Lock()
	defer reportLock.Unlock()
	_, _ = fmt.Fprintf(os.Stdout, format+"\n", args...)
}

func reportRan(kind, id string) { reportf("ran %s %s %d", kind, id, time.Now().UnixNano()) }

func reportEnded(kind, id string, begun time.Time, err error) {
	code, reason := "-", "-"
	if err != nil {
		code, reason = "none", strings.ReplaceAll(err.Error(), " ", "_")
		if coded, ok := errors.AsType[errors.Error](err); ok {
			code = string(coded.Code())
		}
		if facts, ok := errors.FactsOf(err); ok {
			reason = strings.ReplaceAll(string(facts.Phase)+"/"+string(facts.Reason), " ", "_")
		}
	}
	reportf("ended %s %s %d %d %s %s", kind, id, begun.UnixNano(), time.Now().UnixNano(), code, reason)
}

func reportStats() {
	runtime.GC()
	runtime.GC() // the first GC only moves pooled objects to the victim cache
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		descriptors = nil // descriptors can be counted on Linux only
	}
	reportf("stats %d %d %d", countGoroutines(), len(descriptors), memory.HeapAlloc)
}

// countGoroutines counts all goroutines except the idle ones of worker pools. A pool keeps as many
// idle goroutines as a server has once served requests at the same time, so they are no leak.
func countGoroutines() int {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	count := 0
	for stack := range bytes.SplitSeq(stacks, []byte("\n\n")) {
		if !bytes.Contains(stack, []byte("lifecycle.(*WorkerPool")) || bytes.Contains(stack, []byte("/dynamic.")) {
			count++
		}
	}
	return count
}
