//go:build !linux

package testenv

import (
	"os"
	"syscall"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

var errOnlyLinux = errors.New("processes can be paused on Linux only")

// killWithParent returns nil, because only Linux can kill a process when its parent exits.
func killWithParent() *syscall.SysProcAttr { return nil }

// stopProcess returns an error.
func stopProcess(*os.Process) error { return errOnlyLinux }

// continueProcess returns an error.
func continueProcess(*os.Process) error { return errOnlyLinux }
