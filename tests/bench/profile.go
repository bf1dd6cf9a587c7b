package main

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
)

// profiles holds the directories to which CPU and memory profiles of each benchmark are written. A
// profile is disabled if the name of its directory is empty. Each round overwrites the files of the
// previous round.
type profiles struct{ cpu, mem string }

// prepare creates the directories and sets the sampling rate of the memory profile. It must be
// called before the first benchmark is set up, because allocations made before the call are sampled
// less often.
func (p profiles) prepare() error {
	if p.mem != "" {
		runtime.MemProfileRate = 4 << 10
	}
	for _, dir := range []string{p.cpu, p.mem} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return err
		}
	}
	return nil
}

func (p profiles) start(r *row) error {
	if p.mem != "" {
		if err := writeAllocations(profileName(p.mem, r, "before.allocs")); err != nil {
			return err
		}
	}
	if p.cpu == "" {
		return nil
	}
	file, err := os.Create(profileName(p.cpu, r, "cpu"))
	if err != nil {
		return err
	}
	return pprof.StartCPUProfile(file) // file is closed when the program exits
}

func (p profiles) stop(r *row) error {
	pprof.StopCPUProfile()
	if p.mem == "" {
		return nil
	}
	return writeAllocations(profileName(p.mem, r, "allocs"))
}

// writeAllocations writes a profile of all allocations since the start of the program to the named
// file. To see only the allocations of a benchmark, pass the profile that was written before the
// benchmark to the -base flag of pprof.
func writeAllocations(name string) error {
	// Without this call, the profile would omit allocations made since the last garbage collection.
	runtime.GC()
	file, err := os.Create(name) //nolint:gosec // the user passes the directory as a flag
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // pprof detects an incomplete profile
	return pprof.Lookup("allocs").WriteTo(file, 0)
}

func profileName(dir string, r *row, kind string) string {
	return filepath.Join(dir, strings.ReplaceAll(r.key(), "/", "_")+"."+kind+".pprof")
}
