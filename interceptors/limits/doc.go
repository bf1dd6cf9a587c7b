// Package limits has interceptors that refuse what is too much, with the code resource_exhausted. They are for servers, for
// single services, and for conns.
package limits
