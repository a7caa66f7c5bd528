// Package bench measures what a person waits for and what a machine pays: the
// start of a bottle, its helpers, their size and their memory, each beside a
// peer in the same run. `make bench` runs it; a plain `go test` runs none of it.
package bench
