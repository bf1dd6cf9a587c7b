// Package id makes the identifiers that psrpc peers know each other by: a prefix and twelve random letters
// and digits. Only their equality is ever used, and of a call's id also its last letter, as the part of a table where
// it belongs; over 62^11 values make a collision on one bus unlikely for good.
package id
