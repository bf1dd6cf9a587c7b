// Package natsbus is the bus over core NATS.
package natsbus
