// Package systemd tells systemd the state of a service of the type notify.
package systemd
