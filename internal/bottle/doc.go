// Package bottle holds the nouns of the house and their one canonical reading:
// names, identities, hosts, routes, repositories, the resolved specification of
// a bottle and of an agent, and the problems that a reading of them can have.
//
// It imports nothing of the house, does no I/O, and is safe to use from any room.
package bottle
