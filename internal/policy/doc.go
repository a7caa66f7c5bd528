// Package policy decides what a bottle may reach. It compiles the routes of a
// bottle into one immutable, hashed value and answers from it: may this name be
// resolved, may this connection exist, may this request go out, what kind of
// address is this. It does no I/O; whoever asks obeys the verdict.
package policy
