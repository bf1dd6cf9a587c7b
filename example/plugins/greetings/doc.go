// Package greetings contains the descriptors of the example's plugins. The host uses this package
// only to create the plugin folders. When the host loads a plugin, it reads the descriptors from
// the folder.
package greetings
