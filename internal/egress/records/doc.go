// Package records moves TLS records in few system calls: what came is read ahead
// in one, and what was written meanwhile goes out in one. On a loopback, where one
// leg of a gateway is, and for large bodies, that is most of what TLS costs.
package records
