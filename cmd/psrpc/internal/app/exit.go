package app

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Exit codes of the command line. The exit code of a failed call is ExitRPC plus its gRPC code,
// unless no server listens or the bus is down.
const (
	// ExitFailed means that the tool itself has failed, for example because a file is missing.
	ExitFailed = 1
	// ExitUsage means that a flag or an argument is wrong.
	ExitUsage = 2
	// ExitUnreachable means that the bus is out of reach.
	ExitUnreachable = 3
	// ExitNobody means that no server listens, or that nothing was found.
	ExitNobody = 4
	// ExitUnwanted means that the verb has found a problem, for example that a service is
	// unhealthy.
	ExitUnwanted = 5
	// ExitRPC is added to the gRPC code of a failed call: 69 means not found.
	ExitRPC = 64
	// ExitInterrupted means that a signal has ended the run.
	ExitInterrupted = 130
)

// exitError is an error with an exit code and advice for the user.
type exitError struct {
	code  int
	err   error
	hints []string
	// server is the ID of the server that has answered with the error, and took is the time until
	// the answer came. They are zero if no server has answered.
	server string
	took   time.Duration
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// Exit returns err with an exit code. If err is nil, the run ends with that code and prints no error.
func Exit(code int, err error) error { return &exitError{code: code, err: err} }

// Usagef returns an error with the exit code [ExitUsage].
func Usagef(format string, args ...any) error { return Exit(ExitUsage, fmt.Errorf(format, args...)) }

// Nobodyf returns an error with the exit code [ExitNobody].
func Nobodyf(format string, args ...any) error { return Exit(ExitNobody, fmt.Errorf(format, args...)) }

// Hint adds a line to err that tells the user what to do. It keeps the exit code. If hint is empty,
// it returns err.
func Hint(err error, hint string) error {
	if err == nil || hint == "" {
		return err
	}
	hinted := exitError{code: CodeOf(err), err: err}
	if inner, ok := errors.AsType[*exitError](err); ok {
		hinted = *inner
	}
	hinted.hints = append(slices.Clip(hinted.hints), hint)
	return &hinted
}

// RPC returns the error of a call, stream, subscription or update with its exit code. The exit code
// is [ExitNobody] if no server listens, and [ExitUnreachable] if the bus is down.
func RPC(err error) error {
	if err == nil {
		return nil
	}
	facts, _ := errors.FactsOf(err)
	switch facts.Reason {
	case errors.ReasonNobodyListening:
		return Exit(ExitNobody, err)
	case errors.ReasonBusDown:
		return Exit(ExitUnreachable, err)
	}
	if coded, ok := errors.AsType[errors.Error](err); ok {
		return Exit(ExitRPC+int(coded.Code().ToGrpc()), err)
	}
	return err
}

// Answered is like [RPC], but also records which server has answered with the error, and how long
// that took.
func Answered(err error, server string, took time.Duration) error {
	exit := RPC(err)
	coded, ok := errors.AsType[*exitError](exit)
	if !ok {
		return exit
	}
	answered := *coded
	answered.server, answered.took = server, took
	return &answered
}

// CodeOf returns the exit code for err.
func CodeOf(err error) int {
	if err == nil {
		return 0
	}
	if exit, ok := errors.AsType[*exitError](err); ok {
		return exit.code
	}
	if errors.Is(err, context.Canceled) {
		return ExitInterrupted
	}
	return ExitFailed
}
