// Package confined runs git for the gate, without a way to do harm: a child sees
// the system's programs, may write one repository and nothing else, has no network,
// no environment but ours, and ends with the gateway.
//
// The gateway starts its own program anew with a word in front (Word); that child
// takes its powers away (Main) and becomes git. What is in a repository was written
// by an agent or an upstream: git reads it behind this wall.
package confined

// Word is the first argument that makes the gateway's program a confined git.
const Word = "git-run"

// Bounds of one child.
const (
	maxFiles  = 1024
	maxCPU    = 1800    // seconds
	maxMemory = 6 << 30 // bytes of address space: packs are mapped
	maxData   = 2 << 30 // bytes of memory of its own: a folder of a billion files must not take the machine's
	maxWrite  = 8 << 30 // bytes of one file
)
