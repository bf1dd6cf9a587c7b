// Package watch watches a directory of plugins. It finds out which subfolders have appeared,
// changed or disappeared, and tells a [Host] to load and unload their plugins. It knows files and
// folders, but neither the content of a manifest nor the code of a plugin.
//
// # Use
//
// [New] scans the directory that a [Config] names, and [Watcher.Run] follows it until its context
// ends. [Watcher.Close] then waits for the running loads. The host's methods are called on several
// goroutines, but at most one load or unload of each folder is running at a time.
//
// # How changes are found
//
// The operating system reports changes to the folders that are watched, but not reliably: its queue
// may overflow, and network file systems report nothing. Each folder therefore has a fingerprint of
// its files, which is compared when an event arrives and after each poll interval. Folders may be
// links, and so may the directory itself and any folder above it. The watcher follows all links
// itself. It also watches the folders that contain them, because a link may be changed to lead to
// another release of a plugin.
//
// # Debouncing
//
// A folder is loaded when it has been unchanged for the debounce interval, so a plugin that is
// being copied is not read too early. Folders that exist when the watcher is created are loaded at
// once.
//
// # Conflicts and renamed folders
//
// A load fails with a conflict if another plugin serves one of the services. Such a load is
// repeated when another load or unload has finished. A plugin whose folder is renamed keeps
// serving. Before a plugin is unloaded, the watcher looks for another folder that is being loaded
// and whose manifest has the same name.
//
// # Why one goroutine decides
//
// The goroutine that calls Run owns the state of all folders. It reads events and results, and
// decides which folders to load and unload. Other goroutines only load and unload, and send it the
// results. The decisions therefore need no locks and see a consistent state.
package watch
