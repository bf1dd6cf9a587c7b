// Package deploy tests the binaries that make dist builds, and the files in the folder deploy: the
// image, the systemd unit, the Helm chart, the dashboard and the alert rules. The package is a
// separate module, so that dynpsrpc does not depend on Helm and Kubernetes.
//
//	make deploy
//
// The tests use promtool, prometheus, systemd-analyze and redis-server. If one of these programs is
// not installed, the tests that need it are skipped, or fail if the environment variable CI is set.
package deploy
