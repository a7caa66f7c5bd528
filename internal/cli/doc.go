// Package cli is what people type. Each command is one file; deps.go is the only
// place where the parts of the house are joined with this machine: files, the
// environment, the terminal, the backends.
//
// Exit codes: an agent's own code passes through; 0 is done, 1 is an answer of
// no (a denied request, a manifest with errors, a wall that cannot stand), 2 is a
// mistake on the command line, 125 is a failure of the tool itself.
package cli
