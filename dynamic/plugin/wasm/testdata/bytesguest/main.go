// Command bytesguest is a plugin for tests. Many of its handlers misbehave on purpose.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/wasm/guest"
)

func init() {
	for method, handler := range map[string]func(ctx context.Context, request string) (string, error){
		"Echo":     func(_ context.Context, request string) (string, error) { return request, nil },
		"Count":    count,
		"Deadline": deadline,
		"Done":     done,
		"Exit":     exit,
		"Fail":     fail,
		"Goexit":   func(context.Context, string) (string, error) { runtime.Goexit(); return "", nil },
		"Grow":     grow,
		"Log":      log,
		"Loop": func(context.Context, string) (string, error) {
			guest.Log(slog.LevelInfo, "running")
			for counter++; ; counter++ {
			}
		},
		"Overflow": func(context.Context, string) (string, error) { return strconv.Itoa(overflow(1)), nil },
		"Panic":    func(context.Context, string) (string, error) { panic("secret of the guest") },
		"Random":   func(context.Context, string) (string, error) { return strconv.FormatUint(rand.Uint64(), 10), nil },
		"Reach":    reach,
		"Sleep": func(context.Context, string) (string, error) {
			guest.Log(slog.LevelInfo, "running")
			time.Sleep(time.Hour)
			return "", nil
		},
		"Throw": func(context.Context, string) (string, error) { go panic("secret of the guest"); select {} },
	} {
		guest.Handle("test.Bytes/"+method, func(ctx context.Context, request []byte) ([]byte, error) {
			response, err := handler(ctx, string(request))
			return []byte(response), err
		})
	}
}

func main() {}

var counter int

// count increments the counter of this instance and returns it.
func count(context.Context, string) (string, error) {
	counter++
	return strconv.Itoa(counter), nil
}

// deadline returns the time until the deadline of the request, in milliseconds.
func deadline(ctx context.Context, _ string) (string, error) {
	end, ok := ctx.Deadline()
	if !ok || ctx.Err() != nil {
		return "", errors.New("there is no deadline, or it is over")
	}
	return strconv.FormatInt(time.Until(end).Milliseconds(), 10), nil
}

// done waits until a context has timed out and returns the error of the context. It shows that
// timers work in the guest.
func done(ctx context.Context, _ string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	<-ctx.Done()
	return ctx.Err().Error(), nil
}

func exit(_ context.Context, request string) (string, error) {
	status, err := strconv.Atoi(request)
	if err != nil {
		return "", err
	}
	os.Exit(status)
	return "", nil
}

// fail parses the request as "<code> <text>" and returns an error with this code and text. If the
// request contains no space, the whole request is the text of an error without a code.
func fail(_ context.Context, request string) (string, error) {
	code, text, ok := strings.Cut(request, " ")
	if !ok {
		return "", errors.New(request)
	}
	return "", fmt.Errorf("wrapped: %w", guest.Errorf(guest.Code(code), "%s", text))
}

var kept [][]byte

func grow(context.Context, string) (string, error) {
	for {
		kept = append(kept, make([]byte, 1<<20))
	}
}

func log(_ context.Context, request string) (string, error) {
	guest.Log(slog.LevelWarn, "by Log: "+request)
	guest.Logger().With("a", 1).WithGroup("g").Info("by Logger", "b", request)
	fmt.Println("by stdout:", request)
	fmt.Fprintln(os.Stderr, "by stderr:", request)
	return "", nil
}

func overflow(n int) int {
	var frame [1 << 10]byte
	frame[n%len(frame)] = 1
	return overflow(n+1) + int(frame[n%7])
}

// reach returns a list of the things outside the sandbox that the plugin can access.
func reach(context.Context, string) (string, error) {
	var found []string
	if len(os.Args) > 1 {
		found = append(found, "arguments")
	}
	if len(os.Environ()) > 0 {
		found = append(found, "environment")
	}
	for _, path := range []string{"/", ".", "/etc/passwd", "/tmp"} {
		if _, err := os.Stat(path); err == nil {
			found = append(found, path)
		}
	}
	if err := os.WriteFile("/tmp/bytesguest", nil, 0o600); err == nil {
		found = append(found, "writing")
	}
	if n, _ := os.Stdin.Read(make([]byte, 1)); n > 0 {
		found = append(found, "stdin")
	}
	if since := time.Since(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)); since < 0 {
		found = append(found, "a wrong clock")
	}
	return strings.Join(found, " "), nil
}
