// Package ui is how the tool speaks with a person: colour, tables, questions,
// and errors that carry an exit code and the next thing to type.
package ui
