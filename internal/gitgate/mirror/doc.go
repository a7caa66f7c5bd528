// Package mirror keeps the gate's bare copy of one upstream repository, from which
// the bottle reads. It changes in two ways only: a refresh brings what upstream has,
// and a push brings what upstream has accepted. Refs are one file, replaced at once;
// objects come first, so a kill at any moment leaves a mirror that can be read.
package mirror
