// Package clients puts real programs into a native bottle, each against servers of
// the test's own on loopback that carry real-looking names, and looks at three
// things: what the program printed, what the server received, and what the
// decision log says. It holds tests only.
//
// Where a program can both obey the proxy variables and ignore them, both ways are
// walked. Which way it really went is seen by a second call, to a name that no
// route lists: the log tells whether it was refused as a tunnel or as a name.
package clients
