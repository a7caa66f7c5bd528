// Package backendtest is what every kind of wall must pass: the life of a
// bottle, its streams and files, its terminal and limits, what two bottles see of
// each other, and a list of attempts to get out. It also holds Fake, a backend
// in memory for tests of what stands above the walls.
//
// The attempts are made by the test's own program, shown inside the bottle as a
// read-only file: its TestMain must begin with Inside.
package backendtest
