//go:build !race

package require

// Race says that the test runs under the race detector, some twenty times as slow.
const Race = false
