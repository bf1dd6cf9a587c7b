package plugin

import (
	"context"

	"github.com/dynpsrpc/dynpsrpc/errors"
)

// Watch loads the plugin of every folder of root that has a manifest, and then, until ctx ends, follows what happens
// there: a new folder is loaded, a changed one replaces what it had, and the plugin of a folder that is gone, or has no
// manifest any more, is unloaded. A folder is read when it was left alone for a moment, see [WithDebounce]. Successes and
// failures are events, see [WithEvents]; after a failure the next change is tried again, and where another plugin had
// one of the services, so is the end of that. If root itself goes away, so do its plugins, and they come back with it.
//
// Watch returns nil when ctx has ended, and then leaves the plugins as they are. It fails if root cannot be read when it
// begins, or cannot be watched, and with [ErrHostClosed] when the host is shut down.
func (h *Host) Watch(ctx context.Context, root string) error {
	ctx, leave, err := h.enter(ctx, h.runCtx)
	if err != nil {
		return err
	}
	defer leave()
	w, err := newWatcher(h, root)
	if err != nil {
		return errors.NewErrorf(errorCode(err), "plugins in %s cannot be watched: %w", root, err)
	}
	defer w.close()
	w.run(ctx)
	if h.runCtx.Err() != nil {
		return ErrHostClosed
	}
	return nil
}
