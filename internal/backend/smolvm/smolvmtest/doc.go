// Package smolvmtest is a stand-in for the program smolvm, for machines without a
// hypervisor: the documented command line of versions 0.8.0 and 1.9.3 with its state
// across calls, its exit codes, and its known faults as switches. It runs as the test's
// own program, whose TestMain must begin with Main.
//
// The "VM" is a set of Linux namespaces, made as root. Its root is the root of the host:
// it is no wall, and what runs in it is only what a test brings. Its network is like the
// real one's: each connection that it makes is made again by a relay on the host, if its
// address, whatever the port, is on the allow-list. The relay connects to loopback
// addresses only. For every other address stands one listener of the test, so that a
// missing allow-list shows without a packet that leaves.
package smolvmtest
