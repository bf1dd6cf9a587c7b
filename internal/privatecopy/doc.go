// Package privatecopy makes temporary folders for copies of plugin code. A folder whose process was
// killed is removed by the next process that looks for such folders.
package privatecopy
