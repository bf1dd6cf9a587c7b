// Package id makes the identifiers that psrpc peers know each other by: a prefix and twelve random letters
// and digits. Only their equality is ever used; 62^12 values make a collision on one bus unlikely for good.
package id
