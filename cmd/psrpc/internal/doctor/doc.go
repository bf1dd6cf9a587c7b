// Package doctor finds out what is wrong with a fleet: with its broker, its servers, and the
// versions of its services.
//
// [Examine] asks the broker and the servers once, asks them again after a while, and passes the
// answers to the checks. A check is a function of these answers, so it sends nothing itself.
package doctor
