package main

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
)

// profiles are the directories into which each row's profiles are written, those of the last round; empty for none.
type profiles struct{ cpu, mem string }

// prepare must be called before anything is allocated that matters.
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
	return pprof.StartCPUProfile(file) // the program's end closes it
}

func (p profiles) stop(r *row) error {
	pprof.StopCPUProfile()
	if p.mem == "" {
		return nil
	}
	return writeAllocations(profileName(p.mem, r, "allocs"))
}

// writeAllocations writes what was allocated since the program began: subtract that of before, with pprof's -base.
func writeAllocations(name string) error {
	runtime.GC()                 // or else the latest are missing
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
