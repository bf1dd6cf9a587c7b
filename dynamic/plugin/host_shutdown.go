package plugin

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/dynpsrpc/dynpsrpc/errors"
	"github.com/dynpsrpc/dynpsrpc/internal/nilarg"
)

// Shutdown unloads all plugins. It returns when the plugins' code has stopped, all calls to Load,
// Unload and Watch have returned, and all events have been handled. If ctx ends first, Shutdown
// cancels the contexts of the running handlers and returns an error that wraps the error of ctx.
// Shutdown may be called more than once; every call waits until the host has been shut down.
func (h *Host) Shutdown(ctx context.Context) error {
	if ctx == nil {
		return nilarg.ErrContext
	}
	h.cancelRun()
	detach := context.AfterFunc(ctx, h.cancelDrain)
	defer detach()
	<-h.calls.Close()
	h.unloadOnce.Do(h.unloadAll)
	<-h.eventsDone
	if h.drainErr == nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return errors.NewErrorf(errors.FromContext(err).Code(), "plugin host: %w: %w", err, h.drainErr)
	}
	return h.drainErr
}

// Close unloads all plugins like [Host.Shutdown], but cancels the contexts of running handlers
// immediately.
func (h *Host) Close() {
	h.cancelDrain()
	// The error can be ignored. It only reports that handlers were canceled or that a plugin's code
	// did not stop cleanly.
	_ = h.Shutdown(context.Background())
}

// unloadAll unloads all plugins, waits for all background unloads, and stores the errors in
// h.drainErr. It then closes h.stopEvents, because no more events follow, and cancels h.drainCtx.
// The caller must have closed h.calls, so that no other goroutine can change plugins.
func (h *Host) unloadAll() {
	h.mu.Lock()
	names := slices.Collect(maps.Keys(h.plugins))
	h.mu.Unlock()
	errs := make([]error, len(names))
	var unloading sync.WaitGroup
	for i, name := range names {
		unloading.Go(func() { errs[i] = h.unload(h.drainCtx, name, "") })
	}
	unloading.Wait()
	h.drains.Wait()
	h.drainErr = errors.Join(errs...)
	close(h.stopEvents)
	h.cancelDrain()
}
