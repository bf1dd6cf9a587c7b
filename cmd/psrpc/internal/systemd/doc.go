// Package systemd reports the state of a service with Type=notify to systemd.
package systemd
