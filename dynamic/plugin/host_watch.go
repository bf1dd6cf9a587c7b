package plugin

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Watch loads the plugins in the folders of root, and follows changes until ctx ends. A folder that
// has a manifest is a plugin: a new folder is loaded, a changed one replaces its plugin, and the
// plugin of a folder that was removed, or has lost its manifest, is unloaded. If root itself is
// removed, its plugins are unloaded, and they are loaded again when root comes back.
//
// A folder is read when it has not changed for the interval of [WithDebounce]. Events report the
// outcome, see [WithEvents]. Watch retries a failed load after the next change of the folder, and
// after another plugin is unloaded; if the failure was a conflict over a service, it also retries
// when another load has finished.
//
// Watch returns nil when ctx has ended, and leaves the plugins loaded. It returns an error if root
// cannot be read or watched at the beginning, and [ErrHostClosed] when the host is shut down.
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
