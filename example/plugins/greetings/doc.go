// Package greetings holds the descriptors of the example's plugins. The host uses this package only
// to write the plugin folders; when it loads a plugin it reads the descriptors in the folder.
package greetings
