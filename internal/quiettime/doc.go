// Package quiettime lets package fleet bound how long a multi call waits for further responses. It
// is a package of its own because the option is not part of the public API of package dynamic.
package quiettime
