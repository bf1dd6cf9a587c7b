// Package privatecopy makes temporary folders for copies of plugin code. If a process is killed,
// its folders remain until another process calls [RemoveStale].
package privatecopy
