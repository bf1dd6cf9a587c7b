// Package schemadiff finds how two versions of a service differ.
package schemadiff
