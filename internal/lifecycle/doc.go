// Package lifecycle is the story of a bottle: prepare, start, watch, stop and
// clean up, as lists of named steps. Each step that makes something pushes what
// unmakes it, so a failed start and the end of a good one run the same code.
package lifecycle
