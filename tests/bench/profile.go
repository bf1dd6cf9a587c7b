package main

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
)

// profiles holds the directories for the profiles of each row. An empty directory disables the
// profile. The last round overwrites the files of earlier rounds.
type profiles struct{ cpu, mem string }

// prepare creates the directories and sets the rate of the memory profile. It must be called before
// the first allocation of interest.
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
	return pprof.StartCPUProfile(file) // closed when the program ends
}

func (p profiles) stop(r *row) error {
	pprof.StopCPUProfile()
	if p.mem == "" {
		return nil
	}
	return writeAllocations(profileName(p.mem, r, "allocs"))
}

// writeAllocations writes a profile of all allocations since the start of the program. Use -base of
// pprof to subtract the profile from before the row.
func writeAllocations(name string) error {
	runtime.GC()                 // completes the profile: allocations are published by a collection
	file, err := os.Create(name) //nolint:gosec // the user's choice
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // a profile without its end is noticed
	return pprof.Lookup("allocs").WriteTo(file, 0)
}

func profileName(dir string, r *row, kind string) string {
	return filepath.Join(dir, strings.ReplaceAll(r.key(), "/", "_")+"."+kind+".pprof")
}
