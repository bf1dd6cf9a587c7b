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
//	ready                                  the server is serving, the consumer is subscribed,
//	                                       or the client accepts the command rate
//	ran KIND ID TIME                       a handler has started, or a stream or consumer has
//	                                       received a message
//	ended KIND ID BEGUN ENDED CODE REASON  an operation of a client has ended
//	stalled FROM TO                        the process got no CPU time in this period
//	idle                                   the client's rate is 0, and none of its operations
//	                                       is running any longer
//	stats GOROUTINES DESCRIPTORS HEAP      the response to the command stats; HEAP is in bytes
//	done ERROR                             the process has ended gracefully; ERROR is <nil> if
//	                                       nothing failed
//
// TIME, BEGUN, ENDED, FROM and TO are Unix times in nanoseconds. CODE and REASON are "-" if the operation
// succeeded.

var reportLock sync.Mutex

// reportf writes a line without buffering it, so that no line is lost if the process is killed.
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
	// Objects in a sync.Pool survive the first garbage collection.
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	descriptors, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		// This directory exists only on Linux.
		descriptors = nil
	}
	reportf("stats %d %d %d", countGoroutines(), len(descriptors), memory.HeapAlloc)
}

// countGoroutines counts all goroutines except the idle ones in worker pools. Idle goroutines are
// not a leak, because a pool keeps them for later requests.
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
