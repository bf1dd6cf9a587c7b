// Package greetings has the descriptors of the example's plugins. The host uses them only to make the folders: it reads
// those that come with a plugin.
package greetings
