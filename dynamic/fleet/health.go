package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dynpsrpc/dynpsrpc/internal/guard"
)

// health holds the health of a server, which its checks and [Status.SetServing] determine.
type health struct {
	// changed is called when the status of the server, of a service or of a check has changed. mu
	// is not held during the call.
	changed func(service string, status ServingStatus, text string)
	// errorTexts reports whether answers contain the texts of the errors of checks.
	errorTexts bool
	checks     []*check

	// mu also guards the results of the checks.
	mu sync.Mutex
	// services contains the statuses set with SetServing, keyed by service. The empty key stands
	// for the whole server.
	services map[string]ServingStatus
}

// check is a health check and its latest result.
type check struct {
	name  string
	every time.Duration
	run   func(ctx context.Context) error

	status ServingStatus
	text   string
	since  time.Time
}

// current returns the current health.
func (h *health) current() Health {
	h.mu.Lock()
	defer h.mu.Unlock()
	current := Health{Status: h.statusLocked(), Services: maps.Clone(h.services)}
	delete(current.Services, "")
	for _, c := range h.checks {
		current.Checks = append(current.Checks, Check{Name: c.name, Status: c.status, Text: c.text, Since: c.since})
	}
	return current
}

// statusLocked returns the status of the whole server. The caller must hold mu.
func (h *health) statusLocked() ServingStatus {
	status := StatusServing
	if h.services[""] == StatusNotServing {
		status = StatusNotServing
	}
	for _, c := range h.checks {
		switch {
		case c.status == StatusNotServing:
			status = StatusNotServing
		case c.status == StatusUnknown && status == StatusServing:
			status = StatusUnknown
		}
	}
	return status
}

// setServing sets the status of a service or, if service is empty, of the whole server.
func (h *health) setServing(service string, serving bool) {
	status := StatusServing
	if !serving {
		status = StatusNotServing
	}
	h.mu.Lock()
	if h.services == nil {
		h.services = map[string]ServingStatus{}
	}
	before, known := h.services[service]
	h.services[service] = status
	told := status
	if service == "" {
		told = h.statusLocked()
	}
	h.mu.Unlock()
	if before != status && (known || !serving) {
		h.changed(service, told, "")
	}
}

// runCheck runs a check repeatedly until ctx ends.
func (h *health) runCheck(ctx context.Context, c *check) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			h.runOnce(ctx, c)
			timer.Reset(c.every)
		}
	}
}

// runOnce runs a check and stores its result. A check that takes longer than its interval counts as
// failed from then on, even if it later returns nil.
func (h *health) runOnce(ctx context.Context, c *check) {
	limited, cancel := context.WithTimeout(ctx, c.every)
	defer cancel()
	overdue := time.AfterFunc(c.every, func() {
		h.setResult(ctx, c, fmt.Errorf("no result after %v", c.every))
	})
	err := guard.Call("the health check", func() error { return c.run(limited) })
	if !overdue.Stop() && err == nil {
		err = limited.Err()
	}
	h.setResult(ctx, c, err)
}

// setResult stores the result of a check, unless ctx has ended.
func (h *health) setResult(ctx context.Context, c *check, err error) {
	status, text := StatusServing, ""
	if err != nil {
		status = StatusNotServing
	}
	if err != nil && h.errorTexts {
		text = shorten(err.Error())
	}
	h.mu.Lock()
	if ctx.Err() != nil {
		h.mu.Unlock()
		return
	}
	before := c.status
	c.text = text
	if status != before {
		c.status, c.since = status, time.Now()
	}
	whole := h.statusLocked()
	h.mu.Unlock()
	// The first success of a check is not published, because it is the expected result.
	if status != before && (before != StatusUnknown || status == StatusNotServing) {
		told := "check " + c.name + ": " + status.String()
		if text != "" {
			told += ": " + text
		}
		h.changed("", whole, shorten(told))
	}
}

// newHealth returns the health of a server whose checks have not run yet.
func newHealth(checks []*check, errorTexts bool, changed func(service string, status ServingStatus, text string)) *health {
	now := time.Now()
	checks = slices.Clone(checks)
	for _, c := range checks {
		c.since = now
	}
	return &health{checks: checks, errorTexts: errorTexts, changed: changed}
}
