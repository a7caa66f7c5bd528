// Package demo shows a bottle at work: a scripted agent tries to get out of a
// real one, against real servers on this machine's loopback, and every attempt is
// judged from outside, by what the servers, the decision log and the file system
// say. A demo that could not fail would prove nothing: what is missing counts as
// a failure, and the tests widen the bottle to see each verdict turn.
package demo
