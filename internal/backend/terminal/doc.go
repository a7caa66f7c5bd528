// Package terminal has what is done to the master of an agent's terminal, by whoever holds it.
package terminal
