// Package nilarg contains checks for arguments that are nil by mistake.
package nilarg
