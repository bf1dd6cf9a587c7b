// Package greetings contains the .proto source of the example's plugins. The plugins command uses
// this package only to create the plugin folders. When the host loads a plugin, it reads the
// descriptors from the plugin's folder.
package greetings
