package fleet

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"time"
)

// describeRuntime returns the state of the process. Values that only Linux provides are 0 on other
// systems.
func describeRuntime() *Runtime {
	var collections debug.GCStats
	debug.ReadGCStats(&collections)
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(heap)
	r := &Runtime{
		Goroutines: uint64(runtime.NumGoroutine()), //nolint:gosec // a number of goroutines
		HeapBytes:  heap[0].Value.Uint64(),
		GCPause:    collections.PauseTotal,
		NumCPU:     uint32(runtime.NumCPU()), //nolint:gosec // a number of processors
		OS:         runtime.GOOS, Arch: runtime.GOARCH,
	}
	if pages, ok := procField("/proc/self/statm", 1); ok {
		r.RSSBytes = pages * uint64(os.Getpagesize()) //nolint:gosec // a size
	}
	// The second field of the file is the name of the program, in parentheses. It may contain
	// spaces, so fields are counted from the closing parenthesis.
	user, userOK := procField("/proc/self/stat", 11)
	system, systemOK := procField("/proc/self/stat", 12)
	if userOK && systemOK {
		// Linux reports processor times in hundredths of a second, regardless of its timer
		// frequency.
		r.CPU = time.Duration(user+system) * 10 * time.Millisecond //nolint:gosec // not more than the uptime
	}
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		r.OpenFDs = uint64(len(files)) - 1 // one of them is the folder itself
	}
	return r
}

// procField returns a number in a file of Linux's proc file system. index counts the fields after
// the last closing parenthesis, or all fields if there is none.
func procField(name string, index int) (number uint64, ok bool) {
	content, err := os.ReadFile(name) //nolint:gosec // the names are constants
	if err != nil {
		return 0, false
	}
	fields := bytes.Fields(content[bytes.LastIndexByte(content, ')')+1:])
	if index >= len(fields) {
		return 0, false
	}
	number, err = strconv.ParseUint(string(fields[index]), 10, 64)
	return number, err == nil
}
