// Package tty makes the operator's own terminal that of an agent, and gives it back as it was.
package tty
