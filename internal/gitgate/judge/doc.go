// Package judge says what of a push must not go upstream: which refs, and which of the
// objects that they bring. It lists all failures at once, each with its commit, file
// and line, once, where it first appears.
//
// It does no I/O: object.Walk shows a [Judge] what is new, and whoever asked obeys.
package judge
