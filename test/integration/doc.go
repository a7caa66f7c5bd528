// Package integration drives real sandboxes and the real programs.
package integration
