package plugin

import (
	"context"

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
	w, err := newWatcher(h, root)
	if err != nil {
		return errors.NewErrorf(errorCode(err), "cannot watch plugins in %s: %w", root, err)
	}
	defer w.close()
	w.run(ctx)
	if h.runCtx.Err() != nil {
		return ErrHostClosed
	}
	return nil
}
