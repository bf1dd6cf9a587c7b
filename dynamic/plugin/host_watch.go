package plugin

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/dynamic/plugin/internal/watch"
	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Watch loads the plugins in the subfolders of root and then watches root for changes until ctx
// ends. Every subfolder with a manifest contains a plugin. If a new folder appears, its plugin is
// loaded. If a folder changes, its plugin is replaced. If a folder is removed or no longer has a
// manifest, its plugin is unloaded. If root itself is removed, all of its plugins are unloaded.
// They are loaded again when root reappears.
//
// A folder is read once it has been unchanged for the interval set by [WithDebounce]. Successful
// and failed loads are reported as events; see [WithEvents]. Watch retries a failed load after the
// next change to the folder and after another plugin has been unloaded. If the load failed because
// another plugin serves one of the services, Watch also retries after another load has finished.
//
// Watch returns nil when ctx ends and leaves the plugins loaded. It returns an error if root cannot
// be read or watched at the start, and [ErrHostClosed] if the host is shut down.
func (h *Host) Watch(ctx context.Context, root string) error {
	ctx, leave, err := h.enter(ctx, h.runCtx)
	if err != nil {
		return err
	}
	defer leave()
	w, err := watch.New(watch.Config{
		Host: watchHost{h}, Root: root, Manifest: ManifestName,
		Debounce: h.options.debounce, PollInterval: h.options.pollInterval, Logger: h.options.logger,
	})
	if err != nil {
		return errors.NewErrorf(errorCode(err), "cannot watch plugins in %s: %w", root, err)
	}
	defer w.Close()
	w.Run(ctx)
	if h.runCtx.Err() != nil {
		return ErrHostClosed
	}
	return nil
}

// watchHost implements [watch.Host].
type watchHost struct{ host *Host }

// Load implements watch.Host.
func (w watchHost) Load(ctx context.Context, folder string) (name string, err error) {
	return w.host.load(ctx, folder)
}

// Unload implements watch.Host. It marks the plugin as draining at once, so that loading another
// plugin with the same services waits instead of failing.
func (w watchHost) Unload(name, folder string, done func(err error)) {
	w.host.markUnloading(name)
	w.host.drains.Go(func() { // Shutdown waits for this goroutine
		ctx, leave, err := w.host.enter(context.Background(), w.host.drainCtx)
		if err != nil {
			return
		}
		defer leave()
		done(w.host.unload(ctx, name, folder))
	})
}

// Loaded implements watch.Host.
func (w watchHost) Loaded(folder, ignored string) string {
	return w.host.pluginInFolder(folder, ignored)
}

// Forget implements watch.Host.
func (w watchHost) Forget(folder string) { w.host.markReadable(folder) }

// ReadName implements watch.Host.
func (w watchHost) ReadName(folder string) string { return readName(folder) }
