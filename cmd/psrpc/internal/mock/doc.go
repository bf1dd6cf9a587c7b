// Package mock serves methods that have no implementation yet.
//
// A [Mock] answers every method of its services. It takes the answer from the first source that has
// one: the stubs (see [LoadStubs]), a recording, an echo of the request, and a generator. Generated
// answers depend only on the seed, the method and the request, so they are the same in each run.
package mock
